"""The attacks that a reader of model files must stand, by number, and the tests that make them.

A test is ``FILE::FUNCTION``, below ``tests/``; after ``#`` the beginning of a case's name, which must be in the file.
"""

from __future__ import annotations

ZIP = "hostile/test_archives.py::test_an_attack_on_the_archive#"
JSON = "hostile/test_descriptions.py::test_every_attack_in_this_place#"
KERAS = "hostile/test_keras_descriptions.py::test_refused#"
HDF5 = "hostile/test_hdf5.py::test_refused#"
ONNX = "hostile/test_onnx.py::"
SAFE = "storage/test_container.py::"
BOMB = "hostile/test_onnx_bombs.py::test_what_would_take_much#"
TORCH = "hostile/test_pytorch.py::test_it_is_refused#"
NPZ = "interop/test_npz.py::"
FILES = "hostile/test_files.py::"
HEADERS = f"{SAFE}test_headers_that_are_refused#"
TENSORS = f"{SAFE}test_tensors_that_are_refused#"

CHECKLIST: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("a deflate bomb for the description", (f"{ZIP}1 first member a bomb",)),
    2: ("a deflate bomb for the weights", (f"{ZIP}2 largest member a bomb", f"{HDF5}packed twice")),
    3: ("an archive within an archive", (f"{ZIP}3 an archive within",)),
    4: ("a declared size that is not the actual one", (f"{ZIP}4 a size", f"{ZIP}4 a packed size")),
    5: ("two members of one name", (f"{ZIP}5 a member twice",)),
    6: ("a ../ member", (f"{ZIP}6 up and out",)),
    7: ("an absolute path", (f"{ZIP}7 absolute",)),
    8: ("a path with backslashes, a drive", (f"{ZIP}8 backslashes", f"{ZIP}8 a drive")),
    9: ("a symbolic link", (f"{ZIP}9 a symbolic link",)),
    10: ("100,000 members", (f"{ZIP}10 100,000 members",)),
    11: ("an encrypted member", (f"{ZIP}11 encrypted",)),
    12: ("a directory cut short", (f"{ZIP}12 a directory cut short", f"{FILES}test_cut_short_at_every_fiftieth")),
    13: ("lying zip64 fields", (f"{ZIP}13 a lying zip64 end",)),
    14: ("other data before or after", (f"{ZIP}14 something before", f"{ZIP}14 something after")),
    15: ("100,000 levels", (f"{JSON}15 100,000 lists", f"{HEADERS}deep lists")),
    16: ("a text of 10 MB", (f"{JSON}16 10 MB of text",)),
    17: ("an integer of a million digits", (f"{JSON}17 a million digits", f"{HEADERS}a million digits")),
    18: ("NaN and Infinity", (f"{JSON}18 NaN", f"{JSON}18 Infinity")),
    19: ("a key twice", (f"{JSON}19 a key twice",)),
    20: ("lone surrogates and NUL in names", (f"{JSON}20 half a character", f"{JSON}20 NUL")),
    21: ("an unknown class", (f"{JSON}21 unknown class",)),
    22: (
        "Lambda, TFSMLayer, TorchModuleWrapper, StringLookup",
        (JSON, f"{KERAS}StringLookup of a URL", f"{KERAS}Lambda of Keras 3"),
    ),
    23: ("a module that is os or subprocess", (f"{JSON}23 os.system", f"{JSON}23 subprocess.Popen")),
    24: ("units of -1, 0, 2^31, 2^63, 1e308, true, '8'", (f"{JSON}24 units",)),
    25: ("a cyclic, forward or missing node", (f"{JSON}25 a cycle", f"{JSON}25 forward", f"{JSON}25 nobody")),
    26: ("a million layers", (f"{JSON}26 a million layers", f"{JSON}26 layers in 2 MB")),
    27: ("deep wrappers", (f"{JSON}27 30 times Bidirectional", f"{JSON}27 2 to the 25th layers")),
    28: ("a path or URL in a text", (f"{JSON}28 a path", f"{JSON}28 a URL")),
    29: ("a product of lengths that overflows", (f"{JSON}29 a product of lengths",)),
    30: ("a version of the future", (f"{JSON}30 an opset of the future", f"{KERAS}version of the future")),
    31: ("a shape bomb", (f"{HDF5}huge and never written",)),
    32: ("a chunk bomb", (f"{HDF5}chunk bomb", f"{HDF5}packed twice")),
    33: ("an ExternalLink", (f"{HDF5}external link",)),
    34: ("a SoftLink to itself", (f"{HDF5}soft link to itself",)),
    35: ("an external dataset", (f"{HDF5}external numbers",)),
    36: ("a virtual dataset", (f"{HDF5}virtual numbers",)),
    37: ("objects, texts, records, references", (f"{HDF5}records", f"{HDF5}texts", f"{HDF5}references")),
    38: ("an attribute bomb", (f"{HDF5}description of 20 MB", f"{HDF5}a name of 4 GB")),
    39: ("cut short", (f"{FILES}test_cut_short_at_every_fiftieth",)),
    40: ("a group within itself", (f"{HDF5}group within itself",)),
    41: ("an unknown filter", (f"{HDF5}lzf", f"{HDF5}scale and offset")),
    42: ("a header longer than the file, of 2^64-1, of 0", (f"{HEADERS}length 2**64-1", f"{HEADERS}length 0")),
    43: ("overlapping tensors", (f"{TENSORS}overlap",)),
    44: ("a hole, bytes at the end", (f"{TENSORS}a gap", f"{TENSORS}bytes left over")),
    45: ("a name twice", (f"{HEADERS}a tensor twice",)),
    46: ("negative offsets, floats", (f"{HEADERS}negative", f"{HEADERS}float")),
    47: ("a shape that is not the bytes", (f"{TENSORS}shape too large", f"{TENSORS}another dtype")),
    48: ("no length but huge", (f"{TENSORS}0 times 2**63",)),
    49: ("100,000 tensors", (f"{SAFE}test_a_hundred_thousand_tensors",)),
    50: ("metadata that are no text", (f"{SAFE}test_metadata_that_are_refused#a number",)),
    51: ("a space before", (f"{HEADERS}space first",)),
    52: ("an unknown dtype", (f"{TENSORS}dtype I8",)),
    53: ("an array of objects", (f"{NPZ}test_headers_are_read_and_never_evaluated#objects",)),
    54: ("a shape bomb in a header", (f"{NPZ}test_headers_are_read_and_never_evaluated#bomb",)),
    55: ("a header to be evaluated", (f"{NPZ}test_headers_are_read_and_never_evaluated#eval",)),
    56: ("Fortran's order, big-endian", (f"{NPZ}test_arrays_that_numpy_wrote_are_taken_into_a_given_model",)),
    57: ("a pickle that calls os.system", (f"{TORCH}os.system",)),
    58: ("a tar", (f"{TORCH}a tar",)),
    59: ("a storage out of range", (f"{TORCH}offset beyond the storage", f"{TORCH}a storage beyond any number")),
    60: ("views that alias", (f"{TORCH}a huge shape by strides of 0", f"{TORCH}negative stride")),
    61: ("a name outside the list", (f"{TORCH}builtins.eval", f"{TORCH}torch.load")),
    62: ("an abused persistent id", (f"{TORCH}a persistent module", f"{TORCH}PERSID")),
    63: ("a bomb of memos", (f"{TORCH}a million memos", f"{TORCH}lists that double")),
    64: ("data in ../", (f"{ONNX}test_data_outside_the_folder_are_not#../w.bin",)),
    65: ("data in a/../../b", (f"{ONNX}test_data_outside_the_folder_are_not#a/../../w.bin",)),
    66: ("data by a symbolic link", (f"{ONNX}test_data_in_what_is_no_plain_file_are_not#link",)),
    67: ("data in a linked folder", (f"{ONNX}test_data_in_what_is_no_plain_file_are_not#linked folder",)),
    68: ("data by a hard link", (f"{ONNX}test_data_in_what_is_no_plain_file_are_not#hard link",)),
    69: ("data beyond the end", (f"{ONNX}test_data_beyond_their_file",)),
    70: ("bytes that are not the shape's", (f"{ONNX}test_shapes_that_are_not_those_of_the_numbers",)),
    71: ("lengths that overflow, negative ones", (f"{ONNX}test_shapes_that_are_not_those_of_the_numbers",)),
    72: ("nested graphs, functions", (f"{ONNX}test_graphs_nested_too_deep", f"{ONNX}test_other_domains_functions")),
    73: ("an op of another domain", (f"{ONNX}test_other_domains_functions_and_versions",)),
    74: ("W, R or B of another shape", (f"{ONNX}test_recurrent_weights_of_other_shapes",)),
    75: ("a bomb of fields", (f"{ONNX}test_messages_that_take_more_memory_than_bytes", f"{BOMB}a filled array")),
    76: ("a name of two weights", (f"{ONNX}test_names_given_twice",)),
    77: ("NaN, infinity, denormal numbers", (f"{FILES}test_numbers_that_are_none_or_nearly_none",)),
    78: ("a square kernel, transposed", (f"{FILES}test_a_square_kernel_that_was_transposed_is_found",)),
    79: ("an order of gates that is not so", (f"{FILES}test_an_order_of_gates_that_is_not_so",)),
    80: ("an optimizer's state of another shape", (f"{FILES}test_a_checkpoint_of_others_or_altered_is_not_resumed",)),
    81: ("a file swapped while it is read", (f"{FILES}test_a_file_that_changes_and_grows_while_it_is_read",)),
    82: ("a wrong checksum", (f"{FILES}test_bits_turned_over", f"{ZIP}4 a checksum")),
    83: (
        "a pipe, a device",
        (f"{FILES}test_pipes_devices_and_folders", f"{FILES}test_pipes_and_links_in_a_saved_model"),
    ),
    84: ("a file that grows while it is read", (f"{FILES}test_a_file_that_changes_and_grows_while_it_is_read",)),
}
