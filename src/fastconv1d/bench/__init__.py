"""The named problems, and what times them beside other libraries: ``python -m fastconv1d bench``."""
