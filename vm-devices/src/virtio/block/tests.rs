//! Block requests through both transports.
