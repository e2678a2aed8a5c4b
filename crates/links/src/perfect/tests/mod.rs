mod harness;
mod properties;
