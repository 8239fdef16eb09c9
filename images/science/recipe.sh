# Python with numpy, scipy, scikit-learn (and its data sets) and pandas.
packages=(python3 libstdc++6)
entry=("/usr/bin/python$python" -B)
env=(HOME=/tmp PYTHONUTF8=1 PYTHONHASHSEED=0 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1)

prepare() {
    pip_install science/requirements.txt
}
