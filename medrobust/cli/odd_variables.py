"""Variables that libraries cannot take as they are exported: found before they are imported.

Some libraries end the process for such a value, some show a traceback; nothing of it is said in
words that lead to the variable.
"""

import os
import re
from collections.abc import Mapping
from typing import Final

WHOLE: Final = r"[+-]?\d+", "a whole number"
POSITIVE: Final = r"\d+", "a whole number from 0"
NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", "a number"
CAPABILITY: Final = r"\d+[., ]\d+", "two numbers, as 8.6"
SIZE_OR_FLAG: Final = r"\d+\s*(?:[kKmM]?[bB]?)|true|false|True|False|TRUE|FALSE", "a number"

KINDS: Final[tuple[tuple[str, tuple[str, str]], ...]] = (
    ("SOURCE_DATE_EPOCH", POSITIVE),
    ("TORCH_DISTRIBUTED_DEBUG", (r"(?i:off|info|detail)", "OFF, INFO or DETAIL")),
    ("PYTORCH_JIT", (r"[01]", "0 or 1")),
    (
        "PYTORCH_MATCHER_LOGLEVEL",
        (r"(?i:critical|fatal|error|warn(ing)?|info|debug|notset)", "a level of logging"),
    ),
    ("JAXTYPING_(DISABLE|REMOVE_TYPECHECKER_STACK)", (r"(?i:0|1|true|false)", "0 or 1")),
    ("TORCH_(DISABLE_NATIVE_JIT|NATIVE_SKIP_VERSION_CHECK|DIST_INIT_BARRIER)", WHOLE),
    ("TORCH_COMPILE_DEBUG(_MAX_EVENTS)?|(AOTINDUCTOR|TORCHDYNAMO)_REPRO_LEVEL", WHOLE),
    ("TORCHDYNAMO_TRANSLATION_VALIDATION_TIMEOUT|INDUCTOR_PROVENANCE", WHOLE),
    ("COMPILE_STROBELIGHT_(MAX_STACK_LENGTH|MAX_PROFILE_TIME|SAMPLE_RATE)", WHOLE),
    (
        "TORCHINDUCTOR_(.*_(TIMEOUT|INTERVAL|NRUNS|RADIUS|THRESHOLD|REP|WARMUP|CHUNKS|K_SPLITS)"
        "|COMPILE_THREADS|CPP_MAX_HORIZONTAL_FUSION_SIZE|CPP_MIN_CHUNK_SIZE|CPP_GEMM_MAX_K_SLICES"
        "|MIN_NUM_SPLIT|MULTI_KERNEL|ORIGAMI_TOPK|PRECOMPILATION_TIMEOUT_SECONDS)",
        NUMBER,
    ),
    ("NUMPY_MADVISE_HUGEPAGE|PL_GLOBAL_SEED|PL_SEED_WORKERS|LT_CLI_USED", WHOLE),
    ("TQDM_(MINITERS|POSITION|MAXINTERVAL|MININTERVAL)|HF_HUB_(ETAG|DOWNLOAD)_TIMEOUT", NUMBER),
    ("SYMPY_CACHE_SIZE", (r"\d+|None", "a whole number or None")),
    ("SYMPY_DEBUG", (r"True|False", "True or False")),
    ("SYMPY_USE_CACHE", (r"(?i:yes|no|debug)", "yes, no or debug")),
    ("NUMBA_CACHE_LOCATOR_CLASSES",
     (r"\w*Locator\w*(?:\s*,\s*\w*Locator\w*)*", "a list of cache locators of numba")),
    ("TIMM_(FUSED_ATTN|USE_SCIPY_INTERP|USE_OLD_CACHE|FOREACH_CHUNK_SIZE)", WHOLE),
    ("TIMM_DATASET_MAX_RETRIES|TRITON_REDIS_PORT", WHOLE),
    ("NUMBA_OPT", (r"max|[0-3]", "0 to 3 or max")),
    ("NUMBA_CPU_FEATURES", (r"(?:[+-][^,\s]+(?:,[+-][^,\s]+)*,?)?", "a list of +NAME and -NAME")),
    ("NUMBA_THREADING_LAYER",
     (r"default|safe|forksafe|threadsafe|workqueue|omp|tbb", "a threading layer of numba")),
    ("NUMBA_THREADING_LAYER_PRIORITY",
     (r"(?!.*\b(\w+)\b.*\b\1\b)\s*(?:(?:tbb|omp|workqueue)\s*){3}", "tbb, omp and workqueue")),
    ("NUMBA_(FORCE_CUDA_CC|CUDA_DEFAULT_PTX_CC)", CAPABILITY),
    ("NUMBA_CUDA_MAX_PENDING_DEALLOCS_RATIO", NUMBER),
    ("NUMBA_(?!COLOR_SCHEME|DEBUG_PRINT_|CACHE_|CHROME_|CPU_|DUMP_HTML|CUDA_LOG_LEVEL|CUDA_DRIVER|"
     "CUDA_INCLUDE|CUDA_MEMORY_MANAGER|GDB_|LLVM_REFPRUNE_FLAGS|NUM_THREADS|CAPTURED_ERRORS)[A-Z_]+",
     WHOLE),
    ("OPENCV_(?!.*(PATH|DIR|LIST|OPTIONS|LEVEL|BACKEND|DEVICE|RUNTIME|LOCATION|IPP|DISABLE|CONFIG|"
     "ENGINE|DUMP)$)[A-Z0-9_]+", SIZE_OR_FLAG),
)  # fmt: skip
"""Names of variables, and what their values are; the first pattern that fits a name counts."""


def odd_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose value no library can take, and what it should be.

    Example:
        >>> odd_variables({"SOURCE_DATE_EPOCH": "abc", "NUMBA_DEBUG": "1", "NUMBA_OPT": "max"})
        {'SOURCE_DATE_EPOCH': 'a whole number from 0'}
        >>> odd_variables({"NUMBA_THREADING_LAYER_PRIORITY": "tbb omp omp", "OPENCV_TRACE": "True"})
        {'NUMBA_THREADING_LAYER_PRIORITY': 'tbb, omp and workqueue'}
    """
    found = {}
    for name, value in environment.items():
        kind = next((kind for names, kind in KINDS if re.fullmatch(names, name)), None)
        if kind is not None and not re.fullmatch(kind[0], value.strip()):
            found[name] = kind[1]
    return found


CACHES: Final = (
    *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"),
    *("WANDB_CACHE_DIR", "WANDB_DATA_DIR"),
)
"""Variables that name a folder which libraries make and write."""


def lost_caches(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that name a folder for caches which cannot be written or made.

    Example:
        >>> lost_caches({"MPLCONFIGDIR": "/proc/x", "NUMBA_CACHE_DIR": ""})
        ['MPLCONFIGDIR']
    """
    return [name for name in CACHES if environment.get(name) and not _takes(environment[name])]


def keeps_settings(environment: Mapping[str, str]) -> bool:
    """Say whether the folders for settings and caches of an account can be written or made."""
    if environment.get("MPLCONFIGDIR"):
        return True
    home = environment.get("HOME", "")
    folders = {"XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache"}
    return all(
        _takes(environment.get(name) or os.path.join(home, beside))
        for name, beside in folders.items()
    )


def _takes(folder: str) -> bool:
    """Say whether a folder can be written, or made: by the nearest that is there."""
    place = os.path.abspath(os.path.expanduser(folder))
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    allowed = os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
    return allowed and not place.startswith(("/proc", "/sys"))
