"""The file descriptors through which the engine reads and writes what it takes from HTTP."""

import re

# `/**/` marks a FORMAT that the caller had not given.
CLAUSE = re.compile(
    r" INTO OUTFILE '/dev/fd/\d+' APPEND COMPRESSION 'none' FORMAT /\*\*/\w+"
    r"|INTO OUTFILE '/dev/fd/\d+' APPEND COMPRESSION 'none' "
    r"|FROM INFILE '/dev/fd/\d+' COMPRESSION 'none' "
)
_MENTION = re.compile(r":? ?\(in file/uri /dev/fd/\d+\)|: data for INSERT was parsed from file")


def outfile(descriptor: int, added_format: str | None) -> str:
    """The clause that makes a SELECT write to `descriptor`, to stand before its FORMAT."""
    clause = f"INTO OUTFILE '/dev/fd/{descriptor}' APPEND COMPRESSION 'none' "
    return clause if added_format is None else f" {clause}FORMAT /**/{added_format}"


def infile(descriptor: int) -> str:
    """The clause that makes an INSERT read from `descriptor`."""
    return f"FROM INFILE '/dev/fd/{descriptor}' COMPRESSION 'none' "


def without_descriptors(text: str) -> str:
    """A query or message as it would be without them: the caller named none."""
    return _MENTION.sub("", CLAUSE.sub("", text))
