"""`python -m vrec`, the same as `vrec`."""

from vrec.cli.main import main

main()
