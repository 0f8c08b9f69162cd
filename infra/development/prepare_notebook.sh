#!/bin/bash
# Runs as root whenever the notebook starts: lets somebody see to it that it is stopped when nobody computes on it any
# more, and mounts the scratch. SageMaker gives it five minutes, and doesn't start a notebook whose script fails.
set -euo pipefail
export PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin

readonly IDLE_MINUTES=@IDLE_MINUTES@
readonly LUSTRE_SOURCE="@LUSTRE_SOURCE@" # ADDRESS@tcp:/NAME, or empty where there is no FSx
readonly METADATA=/opt/ml/metadata/resource-metadata.json

# A notebook is billed until SageMaker is told to stop it; an open browser computes nothing.
install_watch() {
  local read_metadata name region
  read_metadata='import json, sys; it = json.load(sys.stdin); print(it["ResourceName"], it["ResourceArn"].split(":")[3])'
  read -r name region < <(python3 -c "$read_metadata" <"$METADATA")
  cat >/usr/local/sbin/stop-when-idle <<'SCRIPT'
#!/bin/bash
set -euo pipefail
readonly MINUTES=$1 NAME=$2 REGION=$3 LAST_WORK=$STATE_DIRECTORY/last-work

load=$(cut --delimiter=' ' --fields=2 /proc/loadavg)
gpu=0
if command -v nvidia-smi >/dev/null; then
  gpu=$(nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits | sort --numeric-sort | tail --lines=1)
fi
# An idle Jupyter with an open page stays well below a load of 0.3.
if [[ ! -e $LAST_WORK ]] || awk -v load="$load" -v gpu="$gpu" 'BEGIN { exit !(load >= 0.3 || gpu > 0) }'; then
  touch "$LAST_WORK"
elif [[ -n $(find "$LAST_WORK" -mmin "+$MINUTES") ]]; then
  echo "raki: no work for $MINUTES minutes, the notebook is stopped; its volume is kept"
  aws sagemaker stop-notebook-instance --notebook-instance-name "$NAME" --region "$REGION"
fi
SCRIPT
  chmod 0755 /usr/local/sbin/stop-when-idle
  systemd-run --unit=stop-when-idle --on-active=5min --on-unit-active=5min --property=StateDirectory=stop-when-idle \
    --setenv=PATH="$PATH" /usr/local/sbin/stop-when-idle "$IDLE_MINUTES" "$name" "$region"
}

# To read only: what is prepared belongs to the service.
mount_lustre() {
  dnf install --assumeyes --repo=amazonlinux lustre-client
  mkdir -p /fsx
  mount -t lustre -o ro,relatime,flock "$LUSTRE_SOURCE" /fsx
}

install_watch
if [[ -n $LUSTRE_SOURCE ]]; then
  # A notebook without it is still a notebook: what is prepared can be read from its bucket.
  mount_lustre || echo "raki: FSx could not be mounted; the line before this one says why" >&2
fi
