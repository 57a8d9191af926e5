"""Plain reference server of the benchmark: FastAPI with a Keras model and `model.predict`."""

import sys

from lstm_ae.json_types import JsonObject


def serve(model_file: str, port: int) -> None:
    """Serve a model until the process is killed: `POST /predict` with `{"instances": [...]}`.

    Args:
        model_file: path of the `model.keras`.
        port: port on loopback.
    """
    import keras
    import numpy as np
    import uvicorn
    from fastapi import FastAPI

    model = keras.saving.load_model(model_file, compile=False)
    (name,) = model.input
    app = FastAPI()

    def predict(body: JsonObject) -> JsonObject:
        outputs = model.predict({name: np.array(body["instances"], np.float32)}, verbose=0)
        return {"predictions": {key: value.tolist() for key, value in outputs.items()}}

    # A decorator would be untyped for mypy if FastAPI is not installed.
    app.post("/predict")(predict)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
