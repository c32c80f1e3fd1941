"""The optional C extension; everything else stands in pyproject.toml.

Here and not there because the limited API does not exist for free-threaded Python, where it must be left out.
"""

from __future__ import annotations

import sysconfig

from setuptools import Extension, setup

LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")
SOURCES = "zoo/ops/csrc"

KERNELS = Extension(
    "igan_zoo.ops._kernels",
    sources=[f"{SOURCES}/module.c", f"{SOURCES}/minibatch_discrimination.c", f"{SOURCES}/jpeg_eighth.c"],
    depends=[
        f"{SOURCES}/jpeg_eighth.h",
        f"{SOURCES}/minibatch_discrimination.h",
        f"{SOURCES}/minibatch_discrimination_kernel.h",
        f"{SOURCES}/minibatch_discrimination_precisions.h",
    ],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
    # GCC does not interleave independent rows by itself on x86; -fschedule-insns makes the kernels a tenth faster.
    extra_compile_args=["-std=gnu11", "-O3", "-fschedule-insns", "-g0", "-fopenmp", "-Wall", "-Wextra"],
    extra_link_args=["-fopenmp"],
    py_limited_api=LIMITED_API,
    # Without a compiler the package installs all the same, and uses the references.
    optional=True,
)

setup(ext_modules=[KERNELS], options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {})
