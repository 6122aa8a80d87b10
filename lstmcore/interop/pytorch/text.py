"""Python source as `ruff format` leaves it: names, literals, lines that are too long."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Container, Iterator

from lstmcore.naming import unique

WIDTH = 88  # of ruff and black, where nobody says otherwise

# What an attribute of an nn.Module, or a variable, may not be called. A test compares it with the real class.
_RESERVED = """
    F T_destination Tensor add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu
    load load_state_dict lstmcore_spec modules mtia named_buffers named_children named_modules named_parameters nn
    pack_padded_sequence pad_packed_sequence parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ reset_states self set_extra_state
    set_submodule share_memory state_dict step to to_empty torch train training type xpu zero_grad Path load_file
"""
RESERVED = frozenset(_RESERVED.split())


def identifier(text: str, taken: Container[str] = (), longest: int = 24) -> str:
    """A name like ``text`` that is free: ASCII letters, digits and single underscores, whatever the text holds."""
    plain = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode()
    word = re.sub(r"[^0-9a-z]+", "_", plain.lower())[:longest].strip("_")
    if not word or word[0].isdigit():
        word = f"layer_{word}".rstrip("_")
    if word in RESERVED or keyword.iskeyword(word) or keyword.issoftkeyword(word) or hasattr(builtins, word):
        word = f"{word}_"
    return unique(word, taken)


def camel(word: str) -> str:
    """``hard_sigmoid`` -> ``HardSigmoid``."""
    return "".join(part.capitalize() for part in word.split("_"))


def quoted(text: str) -> str:
    """A string literal in ASCII: double quotes, unless more of them would have to be escaped."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    special = {"\\": "\\\\", quote: f"\\{quote}"}
    body = "".join(special.get(c) or (c if " " <= c <= "~" else ascii(c)[1:-1]) for c in text)
    return f"{quote}{body}{quote}"


def number(value: float) -> str:
    """A literal that is the very number."""
    return repr(float(value)).replace("e+", "e")


def atom(text: str) -> str:
    """The expression, in brackets where operators beside it could pull it apart."""
    return text if re.fullmatch(r"[\w.]+", text) or _closes_at_the_end(text) else f"({text})"


def _closes_at_the_end(text: str) -> bool:
    """Whether no operator stands outside of all brackets: names, calls, subscripts."""
    depth, inside = 0, ""
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character not in ")]}":
            inside += character
    return re.fullmatch(r"[\w.]*", inside) is not None


def lines(text: str, indent: int = 8) -> Iterator[str]:
    """One statement, in as many lines as it needs; a call is broken at its arguments."""
    margin = " " * indent
    if len(margin + text) <= WIDTH:
        yield margin + text
        return
    found = _call(text)
    if found is not None:
        head, arguments, tail = found
        whole = f"{margin}    {', '.join(arguments)}"
        rows = [whole] if len(whole) <= WIDTH else [f"{margin}    {argument}," for argument in arguments]
        if all(len(row) <= WIDTH for row in (margin + head, *rows, margin + tail)):
            yield margin + head
            yield from rows
            yield margin + tail
            return
    yield f"{margin}{text}  # fmt: skip"


_HEAD = re.compile(r"(?:[\w., ()*]+ = |return )?[\w.]+\(")
_TAIL = re.compile(r"\)(\.transpose\(1, 2\))?")


def _call(text: str) -> tuple[str, list[str], str] | None:
    """``x = f(a, b)`` in parts: up to the bracket, the arguments, the bracket and what follows."""
    match = _HEAD.match(text)
    if match is None:
        return None
    arguments: list[str] = []
    current = ""
    depth, quote = 0, ""
    for place, character in enumerate(text[match.end() :], match.end()):
        quote = "" if character == quote else quote or (character if character in "\"'" else "")
        depth += 0 if quote else (character in "([{") - (character in ")]}")
        if depth < 0:
            tail = text[place:]
            return (match.group(), [*arguments, current.strip()], tail) if _TAIL.fullmatch(tail) else None
        if character == "," and depth == 0 and not quote:
            arguments.append(current.strip())
            current = ""
        else:
            current += character
    return None
