#!/bin/bash
# A real Slurm of one node on this machine, without systemd. Needs root, and: apt-get install slurm-wlm munge
#
# tests/experiments/sweep/slurm.sh start FOLDER   brings it up, with everything it keeps in FOLDER; then: export SLURM_CONF=FOLDER/slurm.conf
# tests/experiments/sweep/slurm.sh stop FOLDER    ends it

set -euo pipefail
folder=$(realpath -m "$2")
host=$(hostname -s)

start() {
    mkdir -p "$folder"/{state,spool,munge}
    chmod 755 "$folder"
    [ -f "$folder/munge/key" ] || dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chown -R munge "$folder/munge" && chmod 755 "$folder/munge" && chmod 400 "$folder/munge/key"
    su munge -s /bin/sh -c "munged --force --key-file=$folder/munge/key --socket=$folder/munge/socket \
        --pid-file=$folder/munge/pid --log-file=$folder/munge/log --seed-file=$folder/munge/seed"

    cat > "$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld
    slurmd
    for _ in $(seq 60); do
        [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && return
        sleep 0.5
    done
    sinfo || true
    tail -n 20 "$folder"/*.log
    exit 1
}

stop() {
    export SLURM_CONF="$folder/slurm.conf"
    scancel --user=root 2>/dev/null || true
    for pid in slurmd.pid slurmctld.pid munge/pid; do
        kill "$(cat "$folder/$pid")" 2>/dev/null || true
    done
}

"$1"
