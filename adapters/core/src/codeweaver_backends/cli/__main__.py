"""``python -m codeweaver_backends.cli`` is the command."""

from codeweaver_backends.cli import main

main()
