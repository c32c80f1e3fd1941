"""Running exported models with onnxruntime: the engine, sampling, classifying, evaluating. Never imports torch."""
