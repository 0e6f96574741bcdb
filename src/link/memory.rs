//! Two links joined in memory.
