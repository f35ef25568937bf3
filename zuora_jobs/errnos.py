"""What is to be done about an error of the disk, by its number; who tells it adds what stays there."""

from __future__ import annotations

import errno


def advice(*, may_write: str, make_room: str) -> dict[int, str]:
    """Give advice by error numbers.

    Args:
        may_write: for what this user may not write.
        make_room: for a disk, or a quota, that is full.
    """
    refused = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), may_write)
    return refused | dict.fromkeys((errno.ENOSPC, errno.EDQUOT), make_room)
