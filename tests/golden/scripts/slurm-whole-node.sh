#!/bin/bash

#SBATCH -J tbxxxxx-1-1
#SBATCH -e /study/tbss-hpc-runs/golden/allocations/tbxxxxx-1-1-%J.err
#SBATCH -o /study/tbss-hpc-runs/golden/allocations/tbxxxxx-1-1-%J.out
#SBATCH -p compute
#SBATCH -A p0123
#SBATCH -n 1
#SBATCH --cpus-per-task=128
#SBATCH --mem=240G
#SBATCH -t 01:15:00
#SBATCH --no-requeue
#SBATCH --export=ALL
#SBATCH --constraint=[rack1|rack2]
#SBATCH --time-min=01:15:00
#SBATCH --exclusive
#SBATCH --comment=tbss

exec /venv/bin/python -I -m tbss_hpc.worker --run /study/tbss-hpc-runs/golden --allocation tbxxxxx-1-1
