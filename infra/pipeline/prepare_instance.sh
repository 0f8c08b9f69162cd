#!/bin/bash
# Prepares a GPU instance at its first boot. cloud-init runs this in its last unit, cloud-final.service, and the ECS agent
# starts after that one (ecs.service, "After="): no job is placed before this script has ended. The order is all that the
# agent waits for, not success; so an instance that could not be prepared ends itself, and no job ever writes a scan to
# the root disk.
set -euo pipefail

readonly JOB_USER=10001                  # of the image containers/reconstruct
readonly LUSTRE_SOURCE="@LUSTRE_SOURCE@" # ADDRESS@tcp:/NAME, or empty where there is no FSx

finish() {
  local status=$?
  if ((status != 0)); then
    echo "raki: the instance could not be prepared and ends itself; the line before this one says why" >&2
    shutdown -h now # which terminates it, by the launch template's shutdown behaviour
  fi
  exit "$status"
}
trap finish EXIT

# A job must not get the instance's role. Batch gives its container the host's network, where a hop limit of 1 stops
# nothing. The job's own role comes from another address, 169.254.170.2.
close_metadata() {
  iptables --wait --insert OUTPUT --destination 169.254.169.254 --match owner --uid-owner "$JOB_USER" --jump REJECT
}

# Instance store is encrypted by the hardware, with a key that is gone when the instance ends.
mount_disks() {
  local listed disks device
  listed=$(lsblk --nodeps --noheadings --paths --output NAME,MODEL)
  mapfile -t disks < <(awk '/Amazon EC2 NVMe Instance Storage/ { print $1 }' <<<"$listed")
  case ${#disks[@]} in
    0)
      echo "raki: no instance store among the disks; an instance type with NVMe disks of its own is needed" >&2
      return 1
      ;;
    1) device=${disks[0]} ;;
    *)
      device=/dev/md0
      mdadm --create "$device" --run --level=0 --raid-devices="${#disks[@]}" "${disks[@]}"
      ;;
  esac
  mkfs.xfs -f -q "$device"
  mkdir -p /mnt/nvme
  mount -t xfs -o nodev,noatime,nosuid "$device" /mnt/nvme
  install --directory --owner="$JOB_USER" --group="$JOB_USER" --mode=0700 /mnt/nvme/scratch
}

# Amazon Linux's own repository is a bucket, reached where there is no route to the internet; others might not be.
install_lustre() {
  local attempt
  for attempt in {1..10}; do
    if dnf install --assumeyes --repo=amazonlinux lustre-client; then
      return
    fi
    echo "raki: attempt $attempt to install lustre-client failed" >&2
    sleep 15
  done
  return 1
}

mount_lustre() {
  mkdir -p /fsx
  mount -t lustre -o relatime,flock "$LUSTRE_SOURCE" /fsx
}

close_metadata
mount_disks
if [[ -n $LUSTRE_SOURCE ]]; then
  install_lustre
  mount_lustre
fi
echo "raki: the instance is prepared"
