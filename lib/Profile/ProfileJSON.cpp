// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A profile as JSON.
#include "Summary.h"

#include "llvm/Support/JSON.h"

using namespace llvm;
using namespace nag;
using namespace nag::profile;

static json::Object describe(const Bound &bound) {
  return json::Object{{"seconds", bound.seconds}, {"by", bound.resource}};
}

template <typename T>
static json::Object describeBounds(const T &kernel, const Profile &profile) {
  json::Object bounds;
  for (const GPUDevice &device : profile.getDevices())
    bounds[device.name] = describe(kernel.getBound(device));
  return bounds;
}

static json::Object describe(const Summary &summary) {
  const Counters &counters = summary.counters;
  return json::Object{
      {"bytes_requested", counters.getRequestedBytes()},
      {"bytes_unique", counters.getUniqueBytes()},
      {"bytes_compulsory", summary.compulsoryBytes},
      {"requested_ratio", summary.getRequestedRatio()},
      {"unique_ratio", summary.getUniqueRatio()},
      {"sectors", counters.get("global_sectors")},
      {"sectors_ratio", summary.getSectorRatio()},
      {"flops", counters.getFlops()},
      {"flops_expected", summary.flops},
      {"tensor_flops", counters.get("tensor_flops")},
      {"tensor_share", summary.getTensorShare()},
      {"warp_instructions", counters.get("warp_instructions")},
      {"mma_instructions", counters.get("mma_instructions")},
      {"matrix_loads", counters.get("warp_instructions.matrix-load") +
                           counters.get("warp_instructions.load-shared")},
      {"shared_bank_conflicts", counters.get("shared_bank_conflicts")}};
}

/// What the ops must move and compute.
static json::Object describeWork(const Summary &summary) {
  return json::Object{{"bytes_compulsory", summary.compulsoryBytes},
                      {"flops_expected", summary.flops}};
}

/// The counters of a device function, and their bounds.
static json::Object describeCounts(const DeviceKernel &part,
                                   const Profile &profile) {
  Summary summary;
  summary.counters = part.counters;
  json::Object counts = describe(summary);
  for (StringRef name : {"bytes_compulsory", "requested_ratio", "unique_ratio",
                         "flops_expected"})
    counts.erase(name);
  counts["bounds"] = describeBounds(part, profile);
  return counts;
}

static json::Object describe(const DeviceKernel &part, const Profile &profile) {
  json::Object object{
      {"name", part.info.name},
      {"grid", json::Array(part.info.grid)},
      {"block", json::Array(part.info.block)},
      {"shared_bytes", part.info.sharedBytes},
      {"schedule", part.info.schedule},
      {"launches", part.launches},
      {"resident_blocks", part.countResident(profile.getChip())},
      {"occupancy", part.getOccupancy(profile.getChip())}};
  if (!part.info.key.empty())
    object["key"] = part.info.key;
  if (part.info.modelCycles > 0)
    object["model_cycles"] = part.info.modelCycles;
  if (profile.isTimed())
    object["seconds"] = part.seconds.value_or(0);
  else
    for (auto &[key, value] : describeCounts(part, profile))
      object[key] = std::move(value);
  if (!part.resources)
    return object;
  object["registers"] = part.resources->registers;
  object["spill_bytes"] =
      part.resources->spillStoreBytes + part.resources->spillLoadBytes;
  return object;
}

static json::Object describe(const Kernel &kernel, const Profile &profile) {
  json::Array parts;
  for (const DeviceKernel &part : kernel.parts)
    parts.push_back(describe(part, profile));
  Summary summary = summarize(kernel);
  json::Object object =
      profile.isTimed() ? describeWork(summary) : describe(summary);
  object["name"] = kernel.name;
  object["ops"] = kernel.ops;
  object["launches"] = kernel.getLaunches();
  object["parts"] = std::move(parts);
  if (profile.isTimed())
    object["seconds"] = kernel.getSeconds();
  else
    object["bounds"] = describeBounds(kernel, profile);
  return object;
}

static json::Object describe(const GPUDevice &device) {
  return json::Object{{"name", device.name},
                      {"chip", device.chip},
                      {"multiprocessors", device.multiprocessors},
                      {"gigahertz", device.gigahertz},
                      {"memory_bytes_per_second", device.memoryBytes},
                      {"f32_flops", device.f32Flops},
                      {"tf32_flops", device.tf32Flops},
                      {"bf16_flops", device.bf16Flops}};
}

static json::Object describe(const Copies &copies) {
  return json::Object{{"count", copies.count}, {"bytes", copies.getTraffic()}};
}

static json::Object describeTotals(const Profile &profile) {
  Summary summary = summarize(profile);
  json::Object totals =
      profile.isTimed() ? describeWork(summary) : describe(summary);
  totals["launches"] = summary.launches;
  if (profile.isTimed()) {
    totals["seconds"] = getLaunchSeconds(profile);
    totals["step_seconds"] = profile.stepSeconds;
    return totals;
  }
  json::Object bounds;
  for (const GPUDevice &device : profile.getDevices())
    bounds[device.name] = getStepSeconds(profile, device);
  totals["bound_seconds"] = std::move(bounds);
  return totals;
}

json::Value nag::profile::toJSON(const Profile &profile) {
  json::Array devices, kernels;
  for (const GPUDevice &device : profile.getDevices())
    devices.push_back(describe(device));
  for (const Kernel &kernel : profile.kernels)
    kernels.push_back(describe(kernel, profile));
  json::Object result{{"chip", profile.chip},
                      {"precision", profile.precision},
                      {"functions", json::Array(profile.functions)},
                      {"devices", std::move(devices)},
                      {"kernels", std::move(kernels)},
                      {"copies", describe(profile.copies)},
                      {"totals", describeTotals(profile)}};
  if (!profile.executedShares.empty())
    result["executed_shares"] = json::Array(profile.executedShares);
  if (profile.isTimed())
    result["timed_device"] = profile.timedDevice;
  else
    result["counted_launches"] = profile.runs;
  return result;
}
