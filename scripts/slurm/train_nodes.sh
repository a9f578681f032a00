#!/bin/bash
# Train on two nodes with four GPUs each:   sbatch scripts/slurm/train_nodes.sh job.json runs/li
#
# job.json as in train.sh, with "out": "runs/li" and batches that the eight devices can share. The second argument is
# that same folder; it must be on a file system that all nodes see. Submitted again, it goes on.
#SBATCH --job-name=edviz
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00

set -eu
edviz train "$1" --prepare
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-endpoint="$head:29500" -m edviz.training.worker "$2" cuda 4 "$SLURM_JOB_NUM_NODES"
