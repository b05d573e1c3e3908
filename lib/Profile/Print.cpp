// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A profile as text.
#include "Summary.h"

#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace nag;
using namespace nag::profile;

//===----------------------------------------------------------------------===//
// Counters
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

//===----------------------------------------------------------------------===//
// Times
//===----------------------------------------------------------------------===//

static constexpr char kTimeRow[] =
    "{0,-42} {1,8} {2,10} {3,9} {4,9} {5,10} {6,10} {7,7}";

static void printTimes(StringRef name, int64_t launches, double seconds,
                       const Summary &summary, double share, raw_ostream &os) {
  auto rate = [&](int64_t amount, double unit) {
    return formatv("{0:F1}", divide(double(amount), seconds) / unit).str();
  };
  os << formatv(kTimeRow, name, launches,
                formatv("{0:F1}", seconds * 1e6).str(),
                formatCount(double(summary.compulsoryBytes)),
                formatCount(double(summary.flops)),
                rate(summary.compulsoryBytes, 1e9), rate(summary.flops, 1e12),
                formatv("{0:F1}%", 100 * share).str())
     << '\n';
}

/// Kernels by their share of the step.
static void printTimes(const Profile &profile, raw_ostream &os) {
  std::vector<const Kernel *> kernels;
  for (const Kernel &kernel : profile.kernels)
    kernels.push_back(&kernel);
  double total = getLaunchSeconds(profile);
  sort(kernels, [](const Kernel *a, const Kernel *b) {
    return std::make_pair(getLaunchSeconds(*b), StringRef(a->name)) <
           std::make_pair(getLaunchSeconds(*a), StringRef(b->name));
  });
  os << formatv(kTimeRow, "kernel", "launches", "us", "bytes", "FLOPs", "GB/s",
                "TFLOP/s", "share")
     << '\n';
  for (const Kernel *kernel : kernels)
    printTimes(kernel->name,
               kernel->getLaunches() * int64_t(kernel->parts.size()),
               kernel->getSeconds(), summarize(*kernel),
               divide(getLaunchSeconds(*kernel), total), os);
  Summary step = summarize(profile);
  printTimes("all launches", step.launches, total, step, 1, os);
  printTimes("a step, without events", step.launches, profile.stepSeconds, step,
             divide(profile.stepSeconds, total), os);
  os << formatv(kTimeRow, "copies", profile.copies.count, "",
                formatCount(double(profile.copies.getTraffic())), "", "", "",
                "")
     << '\n';
  os << "us: of one execution where it stands in the step, the median of some "
        "steps, with what the events around each launch cost; the last line is "
        "the host's clock over steps without them\n"
        "bytes, FLOPs: those that the kernel's ops must move and compute; GB/s "
        "and TFLOP/s: the same over the time\n"
        "copies: of device memory, by no kernel; bytes read and written by all "
        "of them\n";
}

static void printTitle(const Profile &profile, raw_ostream &os) {
  os << "chip " << profile.chip << ", one call of ";
  interleave(
      profile.functions, os, [&](StringRef name) { os << '@' << name; }, ", ");
}

void nag::profile::print(const Profile &profile, raw_ostream &os) {
  printTitle(profile, os);
  if (profile.isTimed()) {
    os << " on " << profile.timedDevice << '\n';
    return printTimes(profile, os);
  }
  os << "; bytes and FLOPs of one launch\n";
  printHead(profile, os);
  for (const Kernel &kernel : profile.kernels)
    printKernel(profile, kernel, os);
  printSummary(summarize(profile), "all launches", "", "", "", os);
  for (const GPUDevice &device : profile.getDevices())
    os << formatv(
        "  {0,14}",
        formatv("{0:F2} us", getStepSeconds(profile, device) * 1e6).str());
  os << formatv("\n{0,-42} {1,8} {2,9}", "copies", profile.copies.count,
                formatCount(double(profile.copies.getTraffic())));
  os << "\nrequested, unique: bytes that threads ask for, and distinct ones, "
        "against the fewest that the kernel's ops must move\n"
        "sectors: 32-byte sectors touched against the fewest that hold what is "
        "asked for\n"
        "bound: no launch is faster, by memory (distinct bytes), tensor cores, "
        "f32 units or shared memory; a bound, not a time\n"
        "copies: of device memory, by no kernel; bytes read and written by all "
        "of them, in no other line\n"
     << "Each kernel was counted at its first launch (" << profile.runs
     << " launches), the others are taken to be like it: sectors of rows that "
        "are no multiple of 32 bytes may differ by place, an embedding's "
        "bytes follow the tokens.\n";
}
