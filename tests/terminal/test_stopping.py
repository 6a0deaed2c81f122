"""Signals end a process that waits in a library's code, and are counted once."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest

# Hashing stands for a library that waits: no Python runs in the main thread until it ends.
PROGRAM = """
import hashlib, os, sys
from dgm_tf.terminal import stopping

def stop(signum):
    print("asked", signum, flush=True)
    if not stopping.request(signum):
        os._exit(stopping.exit_code(signum))

with stopping.heard(stop), stopping.watched():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[1]))
    print("unblocked", flush=True)
    import time; time.sleep(0.5)
print("end", flush=True)
"""
LONG, SHORT = 10**9, 12 * 10**6


@contextlib.contextmanager
def begun(length):
    command = [sys.executable, "-c", PROGRAM, str(length)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "ready\n"
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_process_that_waits_in_a_librarys_code(signum):
    with begun(LONG) as program:
        program.send_signal(signum)
        assert program.stdout.readline() == f"asked {signum}\n"
        program.send_signal(signum)
        assert program.wait(timeout=10) == 128 + signum


def test_a_signal_that_another_thread_has_heard_is_not_heard_again():
    with begun(SHORT) as program:
        program.send_signal(signal.SIGTERM)
        rest, _ = program.communicate(timeout=60)
    assert rest.splitlines() == ["asked 15", "unblocked", "end"]
    assert program.returncode == 0


def test_signals_in_python_are_heard_at_once():
    with begun(1) as program:
        assert program.stdout.readline() == "unblocked\n"
        for _ in range(2):
            program.send_signal(signal.SIGINT)
            time.sleep(0.1)
        rest, _ = program.communicate(timeout=10)
    assert rest.splitlines() == ["asked 2", "asked 2"] and program.returncode == 130
