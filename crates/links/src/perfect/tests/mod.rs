mod admission;
mod halves;
mod harness;
mod hostile;
mod limits;
mod losses;
mod newcomers;
mod properties;
