"""
Where third-party parts of the balancer are found.

A distribution may put modules into this package (without an C{__init__.py} of
its own); every L{lbtwist.registry.Extension} in them is available by name in
the configuration.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
