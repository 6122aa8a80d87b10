"""Does an engine compute what lstmcore means? Cases as data, judged by paper, Keras and the reference.

``lstmcore conformance --backend NAME`` or ``pytest --pyargs lstmcore_conformance --backend NAME``; in
code, `lstmcore_conformance.suite`. It knows lstmcore and NumPy; it names no framework and no backend.
"""
