// Upstream's tests include Google Benchmark and measure nothing with it.
