"""C{python -m lbtwist}: the C{lbtwist} command, for where it is not on the path."""

from lbtwist.command import main

raise SystemExit(main())
