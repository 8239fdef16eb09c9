"""Runs a Python program on a Spark cluster of this task's containers; SparkSession.builder.getOrCreate() finds it.

The first container is the master and the driver, each further one a worker, with one core and SPARK_WORKER_MEMORY.
"""

import json
import os
import runpy
import socket
import subprocess
import sys
import time
import urllib.request

MASTER = ("127.0.0.1", 7077)
WEB = 8080
PATIENCE_SECONDS = 120


def java(kind, *arguments):
    home = os.environ["SPARK_HOME"]
    options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1"]
    path = os.environ["SPARK_CONF_DIR"] + ":" + home + "/jars/*"
    return [os.environ["JAVA_HOME"] + "/bin/java", *options, "-cp", path, "org.apache.spark.deploy." + kind, *arguments]


def wait_for(what, ready):
    until = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        if time.monotonic() > until:
            sys.exit(f"{what}: not there after {PATIENCE_SECONDS} s")
        time.sleep(0.1)


def master_listens():
    with socket.socket() as probe:
        return probe.connect_ex(MASTER) == 0


def workers_alive():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{WEB}/json/", timeout=5) as answer:
            return json.load(answer)["aliveworkers"]
    except (OSError, ValueError, KeyError):  # the last two while it shows a page that asks to wait
        return 0


def work(rank):
    memory = os.environ.get("SPARK_WORKER_MEMORY", "512m")
    wait_for("the master", master_listens)
    command = java("worker.Worker", "--host", "127.0.0.1", "--webui-port", str(WEB + rank), "--cores", "1",
                   "--memory", memory, "spark://%s:%d" % MASTER)
    os.execv(command[0], command)


def lead(workers, program):
    if workers:
        subprocess.Popen(java("master.Master", "--host", MASTER[0], "--port", str(MASTER[1]), "--webui-port", str(WEB)),
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for("the workers", lambda: workers_alive() >= workers)
        where = ["--master", "spark://%s:%d" % MASTER, "--executor-memory", os.environ.get("SPARK_WORKER_MEMORY", "512m")]
    else:
        where = ["--master", "local[%s]" % os.environ.get("BMM_CORES", "1")]
    os.environ["PYSPARK_SUBMIT_ARGS"] = " ".join([*where, "pyspark-shell"])
    sys.argv = program
    sys.path[0] = os.path.dirname(program[0])
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("name a Python program and its arguments")
    rank = int(os.environ.get("BMM_RANK", "0"))
    if rank:
        work(rank)
    else:
        lead(int(os.environ.get("BMM_WORKERS", "0")), sys.argv[1:])
