# mypy: allow-subclassing-any
"""The code that MLflow stores with a bundle and runs to serve it ("models from code").

Nothing here is needed to use a bundle from Python: `dropout_risk.registry.load_model` reads the bundle
itself. With this file, MLflow's own tools can score with it too: ``mlflow models serve``, Spark, or
``mlflow.pyfunc.load_model("models:/dropout-risk@champion").predict(frame)``.
"""

from typing import Any

import pandas as pd

from dropout_risk.bundle import load_bundle
from dropout_risk.errors import ColumnsError
from dropout_risk.registry import import_mlflow

mlflow = import_mlflow()
PythonModel: Any = mlflow.pyfunc.PythonModel


class RiskModel(PythonModel):
    """A bundle as MLflow sees it: features in, risk and band out."""

    def load_context(self, context: Any) -> None:
        """Read the bundle that was logged, checking every digest.

        Parameters
        ----------
        context : mlflow.pyfunc.PythonModelContext
            Where MLflow put the files.
        """
        self.bundle = load_bundle(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score students.

        Parameters
        ----------
        context : mlflow.pyfunc.PythonModelContext
            Not used.
        model_input : DataFrame of shape (n, features)
            Features by name, numbers as float64 and categories as text. A feature that is absent counts
            as missing in every row; at least one must be there.
        params : dict, optional
            Not used.

        Returns
        -------
        DataFrame of shape (n, 2)
            ``risk`` in [0, 1] and its ``band``, with the index of the input.

        Raises
        ------
        ColumnsError
            If there is none of the model's features.
        """
        model = self.bundle.model
        if not set(model.feature_names) & set(model_input.columns):
            raise ColumnsError(f"None of the model's features is there: {', '.join(model.feature_names)}.")
        features = model_input.reindex(columns=model.feature_names)
        for name, levels in model.categories_.items():
            by_text = {str(level): level for level in levels}  # MLflow passes categories as text
            features[name] = pd.Categorical(features[name].map(by_text), categories=levels)
        risk = model.predict_proba(features)[:, 1]
        return pd.DataFrame({"risk": risk, "band": self.bundle.band_of(risk)}, index=model_input.index)


mlflow.models.set_model(RiskModel())
