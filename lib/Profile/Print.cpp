// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A profile as text and as JSON.
#include "nag/Profile/Profile.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace llvm;
using namespace nag;
using namespace nag::profile;

static double divide(double a, double b) { return b == 0 ? 0 : a / b; }

namespace {
/// What a kernel, or a whole step, comes to.
struct Summary {
  Counters counters;
  int64_t launches = 0, compulsoryBytes = 0, flops = 0;

  void add(const Kernel &kernel, int64_t times) {
    for (const DeviceKernel &part : kernel.parts) {
      counters.add(part.counters, times);
      launches += times;
    }
    compulsoryBytes += times * kernel.compulsoryBytes;
    flops += times * kernel.flops;
  }
  double getRequestedRatio() const {
    return divide(double(counters.getRequestedBytes()), compulsoryBytes);
  }
  double getUniqueRatio() const {
    return divide(double(counters.getUniqueBytes()), compulsoryBytes);
  }
  double getSectorRatio() const {
    return divide(double(counters.get("global_sectors")),
                  double(counters.get("global_sectors_ideal")));
  }
  double getTensorShare() const {
    return divide(double(counters.get("tensor_flops")),
                  double(counters.getFlops()));
  }
};
} // namespace

static Summary summarize(const Kernel &kernel) {
  Summary summary;
  summary.add(kernel, 1);
  return summary;
}

static Summary summarize(const Profile &profile) {
  Summary summary;
  for (const Kernel &kernel : profile.kernels)
    summary.add(kernel, kernel.getLaunches());
  return summary;
}

static double getStepSeconds(const Profile &profile, const GPUDevice &device) {
  double seconds = 0;
  for (const Kernel &kernel : profile.kernels)
    seconds += kernel.getLaunches() * kernel.getBound(device).seconds;
  return seconds;
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

static std::string formatCount(double value) {
  const char *units[] = {"", "K", "M", "G", "T", "P"};
  size_t unit = 0;
  for (; value >= 9999.5 && unit + 1 < std::size(units); ++unit)
    value /= 1000;
  return formatv("{0}{1}", format("%.4g", value), units[unit]);
}

static constexpr char kRow[] = "{0,-42} {1,8} {2,9} {3,9} {4,7} {5,8} {6,9} "
                               "{7,7} {8,5} {9,6} {10,6}";

static void printHead(const Profile &profile, raw_ostream &os) {
  os << formatv(kRow, "kernel", "launches", "bytes", "requested", "unique",
                "sectors", "FLOPs", "tensor", "regs", "spills", "occup.");
  for (const GPUDevice &device : profile.getDevices())
    os << formatv("  {0,14}", (device.name + " bound").str());
  os << '\n';
}

/// The numbers that any line has.
static void printSummary(const Summary &summary, StringRef name,
                         const std::string &registers,
                         const std::string &spills,
                         const std::string &occupancy, raw_ostream &os) {
  os << formatv(kRow, name, summary.launches,
                formatCount(double(summary.counters.getRequestedBytes())),
                formatv("{0:F3}x", summary.getRequestedRatio()).str(),
                formatv("{0:F3}x", summary.getUniqueRatio()).str(),
                formatv("{0:F3}x", summary.getSectorRatio()).str(),
                formatCount(double(summary.counters.getFlops())),
                formatv("{0:F1}%", 100 * summary.getTensorShare()).str(),
                registers, spills, occupancy);
}

static std::string formatBound(const Bound &bound) {
  return formatv("{0:F2} us {1}", bound.seconds * 1e6, bound.resource);
}

static void printKernel(const Profile &profile, const Kernel &kernel,
                        raw_ostream &os) {
  Summary summary = summarize(kernel);
  summary.launches = kernel.getLaunches() * int64_t(kernel.parts.size());
  int64_t registers = 0, spills = 0;
  double occupancy = 1;
  for (const DeviceKernel &part : kernel.parts) {
    cuda::KernelResources used = part.getResources();
    registers = std::max(registers, used.registers);
    spills += used.spillStoreBytes + used.spillLoadBytes;
    occupancy = std::min(occupancy, part.getOccupancy(profile.getChip()));
  }
  auto known = [&](int64_t value) {
    return profile.hasResources ? std::to_string(value) : std::string("-");
  };
  printSummary(summary, kernel.name, known(registers), known(spills),
               formatv("{0:F0}%", 100 * occupancy), os);
  for (const GPUDevice &device : profile.getDevices())
    os << formatv("  {0,14}", formatBound(kernel.getBound(device)));
  os << '\n';
}

void nag::profile::print(const Profile &profile, raw_ostream &os) {
  os << "chip " << profile.chip << ", one call of ";
  interleave(
      profile.functions, os, [&](StringRef name) { os << '@' << name; }, ", ");
  os << "; bytes and FLOPs of one launch\n";
  printHead(profile, os);
  for (const Kernel &kernel : profile.kernels)
    printKernel(profile, kernel, os);
  printSummary(summarize(profile), "all launches", "", "", "", os);
  for (const GPUDevice &device : profile.getDevices())
    os << formatv(
        "  {0,14}",
        formatv("{0:F2} us", getStepSeconds(profile, device) * 1e6).str());
  os << "\nrequested, unique: bytes that threads ask for, and distinct ones, "
        "against the fewest that the kernel's ops must move\n"
        "sectors: 32-byte sectors touched against the fewest that hold what is "
        "asked for\n"
        "bound: no launch is faster, by memory (distinct bytes), tensor cores, "
        "f32 units or shared memory; a bound, not a time\n"
     << "Each kernel was counted at its first launch (" << profile.runs
     << " launches), the others are taken to be like it: sectors of rows that "
        "are no multiple of 32 bytes may differ by place, an embedding's "
        "bytes follow the tokens.\n";
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

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

static json::Object describe(const DeviceKernel &part, const Profile &profile) {
  Summary summary;
  summary.counters = part.counters;
  json::Object object{
      {"name", part.info.name},
      {"grid", json::Array(part.info.grid)},
      {"block", json::Array(part.info.block)},
      {"shared_bytes", part.info.sharedBytes},
      {"schedule", part.info.schedule},
      {"launches", part.launches},
      {"resident_blocks", part.countResident(profile.getChip())},
      {"occupancy", part.getOccupancy(profile.getChip())},
      {"bounds", describeBounds(part, profile)}};
  if (!part.info.key.empty())
    object["key"] = part.info.key;
  if (part.info.modelCycles > 0)
    object["model_cycles"] = part.info.modelCycles;
  json::Object counted = describe(summary);
  for (StringRef name : {"bytes_compulsory", "requested_ratio", "unique_ratio",
                         "flops_expected"})
    counted.erase(name);
  for (auto &[key, value] : counted)
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
  json::Object object = describe(summarize(kernel));
  object["name"] = kernel.name;
  object["ops"] = kernel.ops;
  object["launches"] = kernel.getLaunches();
  object["bounds"] = describeBounds(kernel, profile);
  object["parts"] = std::move(parts);
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

json::Value nag::profile::toJSON(const Profile &profile) {
  json::Array devices, kernels;
  for (const GPUDevice &device : profile.getDevices())
    devices.push_back(describe(device));
  for (const Kernel &kernel : profile.kernels)
    kernels.push_back(describe(kernel, profile));
  Summary summary = summarize(profile);
  json::Object totals = describe(summary);
  totals["launches"] = summary.launches;
  json::Object seconds;
  for (const GPUDevice &device : profile.getDevices())
    seconds[device.name] = getStepSeconds(profile, device);
  totals["bound_seconds"] = std::move(seconds);
  return json::Object{{"chip", profile.chip},
                      {"precision", profile.precision},
                      {"functions", json::Array(profile.functions)},
                      {"counted_launches", profile.runs},
                      {"devices", std::move(devices)},
                      {"kernels", std::move(kernels)},
                      {"totals", std::move(totals)}};
}
