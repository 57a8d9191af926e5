"""Passwords in addresses such as `http://USER:PASSWORD@HOST`: find, refuse, and hide them."""

import re

from lstm_ae.errors import ConfigError

# A path has a single slash where there were two. The user ends at the last @, since a password may contain more.
_USER = re.compile(r"((?<![\w+.-])[\w+.-]{2,}:/+)\S*@")
_QUERY = re.compile(r"(?i)([?&]passw(?:or)?d)=[^\s&'\"]*")


def contains_password(address: str) -> bool:
    """Return whether an address contains a password, before its host or in its query.

    >>> contains_password("http://user:secret@host"), contains_password("http://user@host:80")
    (True, False)
    """
    _, _, rest = address.partition("://")
    return ":" in rest.rpartition("@")[0] or bool(_QUERY.search(rest))


def hide_user(text: str) -> str:
    """Return a text in which `***` replaces the users and the passwords of addresses.

    >>> hide_user("predict http://user:secret@host:5000")
    'predict http://***@host:5000'
    """
    return _QUERY.sub(r"\1=***", _USER.sub(r"\1***@", text))


def refuse_password(address: str) -> None:
    """Refuse an address with a password.

    Raises:
        ConfigError: it contains a password.
    """
    if contains_password(address):
        raise ConfigError(
            f"The address '{address.partition('://')[0]}://...' contains a password, which other users of this machine "
            "can read. Remove it"
        )
