# Spark with its machine learning, as a cluster of one master and BMM_WORKERS workers, or in one process if there are none.
packages=(python3 libstdc++6 openjdk-17-jre-headless bash coreutils)
entry=("/usr/bin/python$python" -B /usr/local/bin/cluster.py)
spark=/usr/local/lib/python$python/dist-packages/pyspark
env=(HOME=/tmp PYTHONUTF8=1 PYTHONHASHSEED=0 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64 "SPARK_HOME=$spark" SPARK_CONF_DIR=/etc/spark SPARK_SCALA_VERSION=2.13
    SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_HOSTNAME=localhost SPARK_LOCAL_DIRS=/tmp SPARK_WORKER_DIR=/tmp/work)

prepare() {
    pip_install spark/requirements.txt
    # Published as sources alone: the Python package, and the compiled Java beside it.
    python3 -m pip download --quiet --no-deps --no-binary pyspark --dest "$work" pyspark==4.3.0
    tar -xzf "$work"/pyspark-4.3.0.tar.gz -C "$work"
    mv "$work/pyspark-4.3.0/pyspark" "$libraries/"
    mv "$work/pyspark-4.3.0/deps/jars" "$work/pyspark-4.3.0/deps/bin" "$libraries/pyspark/"
    mv "$work/pyspark-4.3.0/deps/licenses" "$work/pyspark-4.3.0/LICENSE" "$work/pyspark-4.3.0/NOTICE" "$libraries/pyspark/"
    rm -rf "$libraries"/pyspark/jars/{connect-repl,kubernetes-*,vertx-*} "$libraries"/pyspark/bin/*.cmd
    install -D -m 755 spark/cluster.py "$root/usr/local/bin/cluster.py"
    mkdir -p "$root/etc/spark"
    cp spark/spark-defaults.conf spark/log4j2.properties "$root/etc/spark/"
}
