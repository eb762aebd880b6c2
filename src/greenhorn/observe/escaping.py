"""How text that somebody else has chosen stands in a line of a log without being able to end or forge it."""

import json.encoder

quote_json = json.encoder.encode_basestring_ascii
"""`value` as a JSON string in ASCII, quotes included (RFC 8259 section 7)."""


def is_harmless(value: str) -> bool:
    """Whether `value` can stand in double quotes as it is."""
    return value.isascii() and value.isprintable() and '"' not in value and "\\" not in value


def escape(value: str) -> str:
    r"""`value` as it can stand in double quotes: quotes, backslashes, control and non-ASCII characters as `\xNN`."""
    if is_harmless(value):
        return value
    return "".join(
        character if " " <= character <= "~" and character not in '"\\' else f"\\x{ord(character):02x}"
        for character in value
    )


def escape_bare(value: str) -> str:
    r"""`value` as it can stand between blanks: the same, and blanks as `\x20`."""
    return escape(value).replace(" ", "\\x20")
