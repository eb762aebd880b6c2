"""`python -m greenhorn` is the `greenhorn` command."""

import sys

from greenhorn.cli import main

sys.exit(main())
