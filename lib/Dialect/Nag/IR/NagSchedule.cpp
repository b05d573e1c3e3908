// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// #nag.schedule: its families and fields, assembly, JSON and verification. All
// of these follow from one table.
#include "nag/Dialect/Nag/IR/NagSchedule.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace nag;
namespace json = llvm::json;

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static constexpr int64_t kMaxTile = 256, kMaxWarps = 32, kMaxThreads = 1024;
static constexpr int64_t kWarpSize = 32;

static constexpr ScheduleField kGemmFields[] = {
    {"tile", 3, 1, kMaxTile, /*isPowerOf2=*/true},
    {"warps", 2, 1, kMaxWarps, /*isPowerOf2=*/true},
    {"stages", 1, 2, 16},
    {"split_k", 1, 1, 65535, /*isPowerOf2=*/false, /*isOptional=*/true}};
static constexpr ScheduleField kAttentionFields[] = {
    {"tile", 2, 1, kMaxTile, /*isPowerOf2=*/true},
    {"warps", 1, 1, kMaxWarps, /*isPowerOf2=*/true}};
static constexpr ScheduleField kAttentionVJPFields[] = {
    {"key_tile", 2, 1, kMaxTile, /*isPowerOf2=*/true},
    {"key_warps", 1, 1, kMaxWarps, /*isPowerOf2=*/true},
    {"query_tile", 2, 1, kMaxTile, /*isPowerOf2=*/true},
    {"query_warps", 1, 1, kMaxWarps, /*isPowerOf2=*/true}};
static constexpr ScheduleField kCachedAttentionFields[] = {
    {"warps", 1, 1, kMaxWarps, /*isPowerOf2=*/true}};
static constexpr ScheduleField kEmbeddingVJPFields[] = {
    {"threads", 1, kWarpSize, kMaxThreads, /*isPowerOf2=*/true},
    {"sort", 1, 0, 1}};
static constexpr ScheduleField kRowPartsFields[] = {
    {"threads", 1, kWarpSize, kMaxThreads}};
static constexpr ScheduleField kRowsFields[] = {
    {"threads", 1, 1, kMaxThreads},
    {"rows", 1, 1, kMaxThreads},
    {"width", 1, 1, 32, /*isPowerOf2=*/true},
    {"segments", 1, 1, 1 << 20, /*isPowerOf2=*/false, /*isOptional=*/true},
    {"passes", 1, 1, 1 << 30, /*isPowerOf2=*/false, /*isOptional=*/true},
    {"keep", 1, 0, 2, /*isPowerOf2=*/false, /*isOptional=*/true}};

namespace {
struct FamilyInfo {
  ScheduleFamily family;
  llvm::StringLiteral name;
  ArrayRef<ScheduleField> fields;
};
} // namespace

static ArrayRef<FamilyInfo> getFamilies() {
  static const FamilyInfo families[] = {
      {ScheduleFamily::Gemm, "gemm", kGemmFields},
      {ScheduleFamily::Attention, "attention", kAttentionFields},
      {ScheduleFamily::AttentionVJP, "attention_vjp", kAttentionVJPFields},
      {ScheduleFamily::CachedAttention, "cached_attention",
       kCachedAttentionFields},
      {ScheduleFamily::EmbeddingVJP, "embedding_vjp", kEmbeddingVJPFields},
      {ScheduleFamily::Rows, "rows", kRowsFields},
      {ScheduleFamily::RowParts, "row_parts", kRowPartsFields}};
  return families;
}

static const FamilyInfo &getInfo(ScheduleFamily family) {
  return *llvm::find_if(getFamilies(), [&](const FamilyInfo &info) {
    return info.family == family;
  });
}

StringRef nag::stringifyScheduleFamily(ScheduleFamily family) {
  return getInfo(family).name;
}

std::optional<ScheduleFamily> nag::symbolizeScheduleFamily(StringRef name) {
  for (const FamilyInfo &info : getFamilies())
    if (info.name == name)
      return info.family;
  return std::nullopt;
}

std::string nag::listScheduleFamilies() {
  return llvm::join(
      llvm::map_range(getFamilies(),
                      [](const FamilyInfo &info) { return info.name.str(); }),
      ", ");
}

ArrayRef<ScheduleField> nag::getScheduleFields(ScheduleFamily family) {
  return getInfo(family).fields;
}

ArrayRef<int64_t> ScheduleAttr::getSizes(StringRef field) const {
  ArrayRef<int64_t> values = getValues();
  for (const ScheduleField &known : getScheduleFields(getFamily())) {
    if (known.name == field)
      return values.take_front(known.count);
    values = values.drop_front(known.count);
  }
  llvm_unreachable("a field that the family does not have");
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static LogicalResult verifyField(function_ref<InFlightDiagnostic()> emitError,
                                 const ScheduleField &field,
                                 ArrayRef<int64_t> values) {
  for (int64_t value : values)
    if (value < field.least || value > field.most ||
        (field.isPowerOf2 && !llvm::isPowerOf2_64(value)))
      return emitError() << "expected "
                         << (field.isPowerOf2 ? "powers of two" : "integers")
                         << " from " << field.least << " to " << field.most
                         << " in '" << field.name << "', but got " << value;
  return success();
}

/// (S3): warps[i] warps along tile[i].
static LogicalResult verifyWarps(function_ref<InFlightDiagnostic()> emitError,
                                 StringRef field, ArrayRef<int64_t> warps,
                                 ArrayRef<int64_t> tile) {
  int64_t count = 1;
  bool hasParts = true;
  for (auto [number, size] : llvm::zip(warps, tile)) {
    count *= number;
    hasParts &= number <= size;
  }
  if (count <= kMaxWarps && hasParts)
    return success();
  return emitError() << "expected at most " << kMaxWarps << " '" << field
                     << "', each with a part of the tile, but got [" << warps
                     << "]";
}

/// (S5).
static LogicalResult verifyRows(function_ref<InFlightDiagnostic()> emitError,
                                int64_t threads, int64_t rows) {
  bool isPart = threads <= kWarpSize && llvm::isPowerOf2_64(threads);
  if (!isPart && threads % kWarpSize != 0)
    return emitError() << "expected 'threads' that are a power of two up to "
                       << kWarpSize << " or a multiple of it, but got "
                       << threads;
  if (threads > kWarpSize && rows > 1)
    return emitError() << "expected 1 in 'rows' where a row has more than "
                       << kWarpSize << " 'threads', but got " << rows;
  if (threads * rows > kMaxThreads)
    return emitError() << "expected at most " << kMaxThreads
                       << " as 'threads' x 'rows', but got " << threads << " x "
                       << rows;
  return success();
}

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   ScheduleFamily family,
                                   ArrayRef<int64_t> values) {
  llvm::StringMap<ArrayRef<int64_t>> sizes;
  ArrayRef<int64_t> rest = values;
  for (const ScheduleField &field : getScheduleFields(family)) {
    if (rest.size() < field.count)
      return emitError() << "expected " << field.count << " integers in '"
                         << field.name << "', but got " << rest.size();
    sizes[field.name] = rest.take_front(field.count);
    if (failed(verifyField(emitError, field, sizes[field.name])))
      return failure();
    rest = rest.drop_front(field.count);
  }
  switch (family) {
  case ScheduleFamily::Gemm:
  case ScheduleFamily::Attention:
    return verifyWarps(emitError, "warps", sizes["warps"], sizes["tile"]);
  case ScheduleFamily::AttentionVJP:
    return success(
        succeeded(verifyWarps(emitError, "key_warps", sizes["key_warps"],
                              sizes["key_tile"])) &&
        succeeded(verifyWarps(emitError, "query_warps", sizes["query_warps"],
                              sizes["query_tile"])));
  case ScheduleFamily::CachedAttention:
  case ScheduleFamily::EmbeddingVJP:
    return success();
  case ScheduleFamily::RowParts:
    return verifyRows(emitError, sizes["threads"].front(), /*rows=*/1);
  case ScheduleFamily::Rows:
    return verifyRows(emitError, sizes["threads"].front(),
                      sizes["rows"].front());
  }
  llvm_unreachable("all families are covered");
}

//===----------------------------------------------------------------------===//
// Fields by name
//===----------------------------------------------------------------------===//

namespace {
/// The fields of a schedule as they are read, in any order.
class FieldReader {
public:
  using EmitError = function_ref<InFlightDiagnostic()>;

  explicit FieldReader(ScheduleFamily scheduleFamily)
      : family(scheduleFamily) {}

  /// False when the family has no such field, or it was there before.
  bool accepts(StringRef name) const {
    return llvm::any_of(getScheduleFields(family),
                        [&](const ScheduleField &field) {
                          return field.name == name;
                        }) &&
           !fields.contains(name);
  }
  void add(StringRef name, ArrayRef<int64_t> values) {
    fields[name].assign(values.begin(), values.end());
  }
  std::string list() const {
    return llvm::join(llvm::map_range(getScheduleFields(family),
                                      [](const ScheduleField &field) {
                                        return field.name.str();
                                      }),
                      ", ");
  }
  /// All values in the order of the fields. Else what is wrong with them.
  std::optional<std::string> finish(SmallVectorImpl<int64_t> &values) const {
    for (const ScheduleField &field : getScheduleFields(family)) {
      auto found = fields.find(field.name);
      if (found == fields.end() && !field.isOptional)
        return llvm::formatv("expected a field '{0}' in a schedule of the "
                             "family {1}, but it is missing",
                             field.name, stringifyScheduleFamily(family));
      if (found == fields.end()) {
        values.append(field.count, 1);
        continue;
      }
      if (found->second.size() != field.count)
        return llvm::formatv("expected {0} integers in '{1}', but got {2}",
                             field.count, field.name, found->second.size());
      values.append(found->second);
    }
    return std::nullopt;
  }

private:
  ScheduleFamily family;
  llvm::StringMap<SmallVector<int64_t>> fields;
};
} // namespace

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

static ParseResult parseIntegers(AsmParser &parser,
                                 SmallVectorImpl<int64_t> &values) {
  auto parseOne = [&] { return parser.parseInteger(values.emplace_back()); };
  if (succeeded(parser.parseOptionalLSquare()))
    return failure(parser.parseCommaSeparatedList(parseOne) ||
                   parser.parseRSquare());
  return parseOne();
}

static ParseResult parseFields(AsmParser &parser, FieldReader &reader) {
  while (succeeded(parser.parseOptionalComma())) {
    StringRef name;
    SMLoc loc = parser.getCurrentLocation();
    SmallVector<int64_t> values;
    if (parser.parseKeyword(&name))
      return failure();
    if (!reader.accepts(name))
      return parser.emitError(loc) << "expected the fields " << reader.list()
                                   << ", each once, but got '" << name << "'";
    if (parser.parseEqual() || parseIntegers(parser, values))
      return failure();
    reader.add(name, values);
  }
  return parser.parseGreater();
}

Attribute ScheduleAttr::parse(AsmParser &parser, Type) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&keyword))
    return {};
  std::optional<ScheduleFamily> family = symbolizeScheduleFamily(keyword);
  if (!family) {
    parser.emitError(loc) << "expected a family of schedules, one of "
                          << listScheduleFamilies() << ", but got " << keyword;
    return {};
  }
  FieldReader reader(*family);
  if (parseFields(parser, reader))
    return {};
  SmallVector<int64_t> values;
  if (auto fault = reader.finish(values)) {
    parser.emitError(loc) << *fault;
    return {};
  }
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(),
                    *family, ArrayRef<int64_t>(values));
}

void ScheduleAttr::print(AsmPrinter &printer) const {
  printer << '<' << stringifyScheduleFamily(getFamily());
  for (const ScheduleField &field : getScheduleFields(getFamily())) {
    ArrayRef<int64_t> values = getSizes(field.name);
    if (field.isOptional && values.front() == 1)
      continue;
    printer << ", " << field.name << " = ";
    if (field.count == 1)
      printer << values.front();
    else
      printer << '[' << values << ']';
  }
  printer << '>';
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

json::Value nag::toJSON(ScheduleAttr schedule) {
  json::Object object{
      {"family", stringifyScheduleFamily(schedule.getFamily())}};
  for (const ScheduleField &field : getScheduleFields(schedule.getFamily())) {
    ArrayRef<int64_t> values = schedule.getSizes(field.name);
    if (field.count > 1)
      object[field.name] = json::Array(values);
    else if (!field.isOptional || values.front() != 1)
      object[field.name] = values.front();
  }
  return object;
}

static std::string toText(const json::Value &value) {
  return llvm::formatv("{0}", value);
}

/// The integers of a number or an array of them; nothing for other values.
static std::optional<SmallVector<int64_t>>
readIntegers(const json::Value &value) {
  if (auto integer = value.getAsInteger())
    return SmallVector<int64_t>{*integer};
  const json::Array *array = value.getAsArray();
  if (!array)
    return std::nullopt;
  SmallVector<int64_t> values;
  for (const json::Value &element : *array) {
    auto integer = element.getAsInteger();
    if (!integer)
      return std::nullopt;
    values.push_back(*integer);
  }
  return values;
}

static llvm::Expected<ScheduleFamily> readFamily(const json::Object &object) {
  const json::Value *value = object.get("family");
  std::optional<ScheduleFamily> family;
  if (value && value->getAsString())
    family = symbolizeScheduleFamily(*value->getAsString());
  if (family)
    return *family;
  return llvm::createStringError(
      "field 'family': expected one of " + listScheduleFamilies() +
      (value ? ", but got " + toText(*value) : ", but it is missing"));
}

llvm::Expected<ScheduleAttr> nag::parseSchedule(const json::Value &value,
                                                MLIRContext *context) {
  const json::Object *object = value.getAsObject();
  if (!object)
    return llvm::createStringError("expected an object, but got " +
                                   toText(value));
  auto family = readFamily(*object);
  if (!family)
    return family.takeError();
  FieldReader reader(*family);
  for (const auto &[key, member] : *object) {
    if (StringRef(key) == "family")
      continue;
    if (!reader.accepts(key))
      return llvm::createStringError(llvm::formatv(
          "field '{0}': expected one of {1}", StringRef(key), reader.list()));
    auto integers = readIntegers(member);
    if (!integers)
      return llvm::createStringError(
          llvm::formatv("field '{0}': expected integers, but got {1}",
                        StringRef(key), member));
    reader.add(key, *integers);
  }
  SmallVector<int64_t> values;
  if (auto fault = reader.finish(values))
    return llvm::createStringError(*fault);
  std::string message;
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  auto schedule = ScheduleAttr::getChecked(
      [&] { return emitError(UnknownLoc::get(context)); }, context, *family,
      ArrayRef<int64_t>(values));
  if (!schedule)
    return llvm::createStringError(message);
  return schedule;
}
