"""Compares two models of who sees a doctor within a year (RAND Health Insurance Experiment), by cross-validation."""

import json
import sys

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression, RandomForestClassifier
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession, functions

spark = SparkSession.builder.appName("visits").getOrCreate()
data = spark.read.csv(sys.argv[1], header=True, inferSchema=True).repartition(4, "mdvis", "lncoins", "disea").cache()
features = [name for name in data.columns if name != "mdvis"]
data = data.withColumn("label", (functions.col("mdvis") > 0).cast("double"))
training, held_back = data.randomSplit([0.8, 0.2], seed=1)
prepare = [VectorAssembler(inputCols=features, outputCol="raw"), StandardScaler(inputCol="raw", outputCol="features")]
measure = BinaryClassificationEvaluator()

line = LogisticRegression(maxIter=30)
forest = RandomForestClassifier(numTrees=20, seed=1)
choices = {
    "logistic regression": (line, ParamGridBuilder().addGrid(line.regParam, [0.0, 0.1]).build()),
    "random forest": (forest, ParamGridBuilder().addGrid(forest.maxDepth, [5, 8]).build()),
}
report = {"people-years": data.count(), "executors": spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1}
for name, (model, grid) in choices.items():
    search = CrossValidator(estimator=Pipeline(stages=[*prepare, model]), estimatorParamMaps=grid, evaluator=measure,
                            numFolds=2, seed=1)
    best = search.fit(training)
    report[name] = {"cross-validated": round(max(best.avgMetrics), 4),
                    "held back": round(measure.evaluate(best.transform(held_back)), 4)}
print(json.dumps(report, indent=2))
spark.stop()
