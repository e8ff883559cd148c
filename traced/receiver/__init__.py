"""Takes OTLP over gRPC and HTTP, decodes it to columns, hands batches to whoever consumes them."""
