"""The server that most people would write: FastAPI, a Keras model, `model.predict`. For comparison only."""

import os
import sys
from typing import Any


def serve(model_file: str, port: int) -> None:
    """Serve a model until killed: `POST /predict` with `{"instances": [...]}`."""
    import keras
    import numpy as np
    import uvicorn
    from fastapi import FastAPI

    model = keras.saving.load_model(model_file, compile=False)
    (name,) = model.input
    app = FastAPI()

    def predict(body: dict[str, Any]) -> dict[str, Any]:
        outputs = model.predict({name: np.array(body["instances"], np.float32)}, verbose=0)
        return {"predictions": {key: value.tolist() for key, value in outputs.items()}}

    # Not as a decorator: where FastAPI is not installed, a decorator of unknown type fails the check of types.
    app.post("/predict")(predict)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    serve(sys.argv[1], int(sys.argv[2]))
