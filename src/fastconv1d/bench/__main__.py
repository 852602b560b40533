"""The process in which ``python -m fastconv1d bench`` measures."""

from .command import main

if __name__ == "__main__":
    main()
