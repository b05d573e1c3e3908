// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generated op definitions and the hand-written assembly formats.
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace nag;

/// A list of types in parentheses, which may be empty.
static ParseResult parseTypeGroup(OpAsmParser &parser,
                                  SmallVectorImpl<Type> &types) {
  return parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, [&] {
    return parser.parseType(types.emplace_back());
  });
}

static void printTypeGroup(OpAsmPrinter &printer, Operation *,
                           TypeRange types) {
  printer << '(' << types << ')';
}

/// [(0, 1), (2)]: pairs of rows, or one row and the row of ones.
static ParseResult parseGramPairs(OpAsmParser &parser, DenseI64ArrayAttr &left,
                                  DenseI64ArrayAttr &right) {
  SmallVector<int64_t> first, second;
  auto parsePair = [&]() -> ParseResult {
    second.push_back(RowGramOp::kOnes);
    if (parser.parseLParen() || parser.parseInteger(first.emplace_back()))
      return failure();
    if (succeeded(parser.parseOptionalComma()) &&
        parser.parseInteger(second.back()))
      return failure();
    return parser.parseRParen();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Square, parsePair))
    return failure();
  left = parser.getBuilder().getDenseI64ArrayAttr(first);
  right = parser.getBuilder().getDenseI64ArrayAttr(second);
  return success();
}

static void printGramPairs(OpAsmPrinter &printer, Operation *,
                           DenseI64ArrayAttr left, DenseI64ArrayAttr right) {
  printer << '[';
  llvm::interleaveComma(llvm::zip(left.asArrayRef(), right.asArrayRef()),
                        printer, [&](auto pair) {
                          auto [a, b] = pair;
                          printer << '(' << a;
                          if (b != RowGramOp::kOnes)
                            printer << ", " << b;
                          printer << ')';
                        });
  printer << ']';
}

#define GET_OP_CLASSES
#include "nag/Dialect/Nag/IR/NagOps.cpp.inc"

// nag.block %x gate(%w, %b, %p, %beta, %alpha [scale %s]) [route(%dial)]
// [attributes {...}] : types { body }

ParseResult BlockOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::UnresolvedOperand> operands(1), gate;
  if (parser.parseOperand(operands.front()) || parser.parseKeyword("gate") ||
      parser.parseLParen() ||
      parser.parseOperandList(gate, /*requiredOperandCount=*/5))
    return failure();
  llvm::append_range(operands, gate);
  bool hasScale = succeeded(parser.parseOptionalKeyword("scale"));
  if (hasScale && parser.parseOperand(operands.emplace_back()))
    return failure();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseRParen())
    return failure();
  bool hasDial = succeeded(parser.parseOptionalKeyword("route"));
  if (hasDial &&
      (parser.parseLParen() || parser.parseOperand(operands.emplace_back()) ||
       parser.parseRParen()))
    return failure();
  SmallVector<Type> types;
  SMLoc attributesLoc = parser.getCurrentLocation();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      failed(verifyInherentAttrs(result.name, result.attributes,
                                 [&] {
                                   return parser.emitError(attributesLoc)
                                          << "'nag.block' op ";
                                 })) ||
      parser.parseColonTypeList(types) ||
      parser.resolveOperands(operands, types, loc, result.operands))
    return failure();
  llvm::copy(ArrayRef<int32_t>({1, 1, 1, 1, 1, 1, hasScale, hasDial}),
             result.getOrAddProperties<BlockOp::Properties>()
                 .operandSegmentSizes.begin());
  auto stream = dyn_cast<StreamType>(types.front());
  if (!stream)
    return parser.emitError(loc)
           << "expected a !nag.stream, but got " << types.front();
  result.addTypes({stream, stream.getLogNormType()});
  if (result.attributes.get("routing"))
    result.addTypes(RankedTensorType::get({stream.getShape().front() + 1},
                                          parser.getBuilder().getI32Type()));
  return parser.parseRegion(*result.addRegion());
}

void BlockOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getStream() << " gate(" << getOperands().slice(1, 5);
  if (Value scale = getScale())
    printer << " scale " << scale;
  printer << ')';
  if (Value dial = getDial())
    printer << " route(" << dial << ')';
  SmallVector<StringRef> elided{getOperandSegmentSizesAttrName()};
  if (getEps() == APFloat(1.1920928955078125e-07))
    elided.push_back("eps");
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), elided);
  printer << " : " << getOperandTypes() << ' ';
  printer.printRegion(getBody());
}

void MakeStreamOp::build(OpBuilder &builder, OperationState &state,
                         Value direction, Value logNorm) {
  auto type = cast<RankedTensorType>(direction.getType());
  build(builder, state,
        StreamType::get(builder.getContext(), type.getShape(),
                        type.getElementType()),
        direction, logNorm);
}
