"""What a new process pays: the import, and the first call, with and without compiled code on disk."""

import os
import subprocess
import sys

FIRST_CALL = """
import numpy as np
import fastconv1d
fastconv1d.conv1d(np.ones((1, 64, 1024), np.float32), np.ones((64, 64, 3), np.float32))
"""


class Import:
    def timeraw_import(self):
        return "import fastconv1d"


class FirstCall:
    """A dense layer in float32 from a fresh interpreter on; NumPy and Numba are imported in it too."""

    number = 1
    repeat = 3
    rounds = 1
    timeout = 120

    def setup(self):
        subprocess.run([sys.executable, "-c", FIRST_CALL], env=os.environ, check=True)

    def timeraw_warm(self):
        return FIRST_CALL

    def timeraw_cold(self):
        return 'import os; os.environ["FASTCONV1D_CACHE"] = "0"\n' + FIRST_CALL
