pub struct Cluster;
pub struct ClusterOptions;
pub enum Stop {
    A,
}
