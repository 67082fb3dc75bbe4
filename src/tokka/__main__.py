"""``python -m tokka`` is ``tokka``."""

from tokka.cli.main import main

if __name__ == "__main__":
    main()
