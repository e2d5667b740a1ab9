"""How a tflite_runtime wheel is made: sources, core, extension, wheel, audit."""
