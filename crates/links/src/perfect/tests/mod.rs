mod admission;
mod harness;
mod hostile;
mod limits;
mod properties;
