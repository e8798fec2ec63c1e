//! Judgement of representations: label-free statistics, k-NN and linear probes.
