"""A time of day that jumps by three hours, back and forth, whenever it is asked for; the monotonic clock does not."""

import datetime
import itertools
import sys
import time

_HOURS = itertools.cycle((3, 0, -3))
_real_datetime, _real_time = datetime.datetime, time.time


class _Jumping(_real_datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(_real_datetime.now(tz).isoformat()) + datetime.timedelta(hours=next(_HOURS))


def let_the_time_jump() -> None:
    """Change the clock of this process for all modules of nnbox, those that are still to be imported included."""
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "nnbox"]:
        if getattr(module, "datetime", None) is _real_datetime:
            module.datetime = _Jumping
    datetime.datetime = _Jumping
    time.time = lambda: _real_time() + 3600 * next(_HOURS)
