#!/bin/bash
# Train on one node with four GPUs:   sbatch scripts/slurm/train.sh job.json
#
# job.json: {"data": "run.h5", "out": "runs/li", "preset": "paper", "devices": 4}
#
# At the end of its time, or when it is preempted, the run writes a checkpoint and the job queues itself again: the
# same command goes on with the run in "out".
#SBATCH --job-name=edviz
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append

set -u
# the one task of this job starts the processes itself: without these lightning would think that srun had
unset SLURM_NTASKS SLURM_NTASKS_PER_NODE SLURM_PROCID SLURM_LOCALID

edviz train "$1" &
training=$!
trap 'kill -TERM $training; wait $training; scontrol requeue "$SLURM_JOB_ID"; exit 0' TERM
wait $training
