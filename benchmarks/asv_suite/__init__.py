"""The asv suite. asv imports all of it with every commit, so at the top it imports only what Python brings, and this
module before anything else, so that each commit keeps compiled code of its own.

Without that, kernels that one commit has compiled would be timed under the name of another.
"""

import os
import tempfile

if commit := os.environ.get("ASV_COMMIT"):
    cache = os.path.join(os.environ.get("ASV_ENV_DIR", tempfile.gettempdir()), "fastconv1d-asv", commit)
    os.environ["NUMBA_CACHE_DIR"] = os.environ["FASTCONV1D_CACHE"] = cache
