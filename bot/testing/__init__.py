"""For the tests of plugins and of the bot itself.

A cluster drawn as text, one that migrates in memory, a clock.

cluster = draw_cluster('''
    host-a 16cpu 64G reserve 2G | web-1 4G 2cpu load 0.5 [env=prod] | db-1 8G
    host-b 16cpu 64G reserve 2G
''')
hypervisor = FakeHypervisor(cluster, TickingClock())
"""

from bot.testing.clock import TickingClock
from bot.testing.draw import DrawingError, draw_cluster, uuid_of
from bot.testing.hypervisor import Ending, FakeHypervisor

__all__ = ["DrawingError", "Ending", "FakeHypervisor", "TickingClock", "draw_cluster", "uuid_of"]
