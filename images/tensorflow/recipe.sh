# TensorFlow on processors, with Keras.
packages=(python3 libstdc++6)
entry=("/usr/bin/python$python" -B)
# Quiet, and the same bytes from each run on one kind of processor, once a program calls enable_op_determinism as well.
env=(HOME=/tmp PYTHONUTF8=1 PYTHONHASHSEED=0 TF_CPP_MIN_LOG_LEVEL=2 TF_ENABLE_ONEDNN_OPTS=0 KERAS_BACKEND=tensorflow OMP_NUM_THREADS=1
    TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1)

prepare() {
    pip_install tensorflow/requirements.txt
    # For building further programs with it.
    rm -rf "$libraries"/tensorflow/include
}
