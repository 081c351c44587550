"""Shared parts of the benchmarks: arguments, timing, the table, and the machine's description."""

import argparse
import os
import platform
import re
import resource
import statistics
import sys
import time
from importlib.metadata import version

PRECISIONS = ("float32", "mixed_bfloat16")


def parser(description, runs, precision=True):
    """A parser with the arguments that all benchmarks have."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--runs", type=int, default=runs, help="timed runs, after one that is not")
    if precision:
        made.add_argument(
            "--precision", choices=PRECISIONS, default="float32", help="of the network"
        )
    return made


def seconds(function, runs):
    """Run `function` `runs` times: list of seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def peak_memory():
    """Largest resident size of this process so far, in GB; of the GPU, too, where there is one."""
    # Linux counts in KB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    text = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
    tf = sys.modules.get("tensorflow")
    for gpu in tf.config.list_logical_devices("GPU") if tf else []:
        peak = tf.config.experimental.get_memory_info(gpu.name)["peak"]
        text += f", {gpu.name} {peak / 1e9:.2f} GB"
    return text


def processor():
    """Name of the processor, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return re.search(r"model name\s*:\s*(.+)", file.read()).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def product_rate(dtype, side=2048, runs=9):
    """Rate of TensorFlow's product of two square matrices, in GFLOP/s: the speed of the moment."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.stateless_normal((side, side), seed=(0, 0)), dtype)
    times = seconds(lambda: tf.matmul(matrix, matrix).numpy(), runs)
    return 2 * side**3 / statistics.median(times) / 1e9


def report(title, rows):
    """Print a table of median and minimum, then memory and what it was measured on.

    Args:
        title: what was run, with its settings.
        rows: dict from the name of a row to its list of seconds.
    """
    print(title)
    print(f"{'':24} {'median':>10} {'minimum':>10} {'runs':>6}")
    for name, times in rows.items():
        print(f"{name:24} {statistics.median(times):8.4f} s {min(times):8.4f} s {len(times):6}")
    report_machine()


def report_machine():
    """Print memory, speed, and what it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    print(f"peak memory {peak_memory()}")
    if "tensorflow" in sys.modules:
        rates = [f"{product_rate(dtype):.0f} ({dtype})" for dtype in ("float32", "bfloat16")]
        print(f"matrix products, GFLOP/s: {', '.join(rates)}")
    print(f"Python {platform.python_version()}, {packages}; {cores()} cores of {processor()}")
