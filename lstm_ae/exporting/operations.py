"""Allowed operations: what a SavedModel may be made of, judged from its file alone.

A SavedModel is a program, and TensorFlow's operations can read and write files, start Python functions and reach the
network. The list here names what recurrent, dense, convolutional and attention models compute with; whatever is not on
it is forbidden, however harmless. Not on it on purpose: files, queues, tables (their creators run while loading),
Python functions, printing, remote calls, variables made within a function, cuDNN and other operations that a CPU does
not have. A model may write its own variables: Keras counts its random seeds so, even where nothing is drawn.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lstm_ae.exporting.graph import LIMIT, read_graph

_CONTROL = """
    Assert Case Const ControlTrigger EnsureShape Enter Exit Identity IdentityN If LoopCond Merge NextIteration NoOp
    PartitionedCall Placeholder PlaceholderWithDefault PreventGradient StatefulPartitionedCall StatelessCase
    StatelessIf StatelessWhile StopGradient Switch While
"""
_VARIABLES = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather
    ResourceGatherNd VariableShape
"""
_MATHS = """
    Abs Acos Acosh Add AddN AddV2 Angle Asin Asinh Atan Atan2 Atanh BesselI0e BesselI1e BitwiseAnd BitwiseOr
    BitwiseXor Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp
    Digamma Div DivNoNan Equal Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma Igammac
    Imag Inv Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot
    LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma Pow Range Real RealDiv
    Reciprocal RightShift Rint Round Rsqrt Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan Tanh
    TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
_REDUCTIONS = """
    All Any ArgMax ArgMin Bincount DenseBincount EuclideanNorm InTopKV2 Max Mean Min Prod SegmentMax SegmentMean
    SegmentMin SegmentProd SegmentSum Sum TopKV2 UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum
"""
_SHAPES = """
    BatchToSpaceND BroadcastArgs BroadcastTo ConcatOffset ConcatV2 DepthToSpace Diag DiagPart DynamicPartition
    DynamicStitch ExpandDims Fill Gather GatherNd GatherV2 InvertPermutation LowerBound MatrixBandPart
    MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch
    Rank Reshape ReverseSequence ReverseV2 Roll ScatterNd Select SelectV2 Shape ShapeN Size Slice
    Snapshot SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose Unique UniqueV2
    Unpack UnravelIndex UpperBound Where ZerosLike
"""
_LINEAR_ALGEBRA = """
    BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Einsum FFT FFT2D IFFT IFFT2D IRFFT IRFFT2D MatMul
    MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve Qr RFFT RFFT2D SelfAdjointEigV2 Svd
"""
_NETWORKS = """
    AdjustContrastv2 AdjustHue AdjustSaturation AvgPool AvgPool3D BiasAdd Conv2D Conv2DBackpropInput Conv3D
    Conv3DBackpropInputV2 CropAndResize DepthwiseConv2dNative Dilation2D Elu FusedBatchNormV3 HSVToRGB
    ImageProjectiveTransformV3 L2Loss LeakyRelu LogSoftmax LRN MaxPool MaxPool3D MaxPoolV2 Relu Relu6 ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor RGBToHSV Selu Softmax Softplus Softsign
"""
_LISTS = """
    EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""
_RANDOM = """
    Multinomial RandomStandardNormal RandomUniform RandomUniformInt StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomNormalV2 StatelessRandomUniformIntV2 StatelessRandomUniformV2
    StatelessTruncatedNormalV2 TruncatedNormal
"""
ALLOWED = frozenset(
    (_CONTROL + _VARIABLES + _MATHS + _REDUCTIONS + _SHAPES + _LINEAR_ALGEBRA + _NETWORKS + _LISTS + _RANDOM).split()
)
# A variable made within a function goes by a name that all models of a process share, and so may be another model's.
OUTSIDE_FUNCTIONS = frozenset({"VarHandleOp", "VarIsInitializedOp"})
# How every SavedModel reads its own weights, which a server does once, and how it writes them, which none does.
RESTORE = frozenset({"RestoreV2"})
SAVE = frozenset({"MergeV2Checkpoints", "SaveV2", "ShardedFilename", "StaticRegexFullMatch", "StringJoin"})
OBJECTS = frozenset(
    {"bare_concrete_function", "captured_tensor", "constant", "function", "user_object", "variable", None}
)


def forbidden(version: Path, limit: int = LIMIT) -> list[str]:
    """What a SavedModel has that it may not have, in words, sorted; empty where it may be loaded.

    Args:
        version: the folder that holds `saved_model.pb`. Nothing of it is loaded or run.
        limit: largest `saved_model.pb` to read, in bytes.

    Raises:
        DataError: the file is missing, too large or damaged.
    """
    return forbidden_in(read_graph(version, limit))


def forbidden_in(meta: Any) -> list[str]:
    """The same of a `tensorflow.MetaGraphDef`.

    Every operation is judged, wherever it stands and whatever its function is called. Only what nothing but the saver
    reaches may read and write weights: its two nodes, what they depend on, and what these call, as long as no
    signature, initializer or object leads there as well.
    """
    found = {name for node in meta.object_graph_def.nodes for name in _unwanted(node)}
    if meta.asset_file_def:
        found.add("asset files")
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {each.signature.name: each for each in meta.graph_def.library.function}
    if len(nodes) < len(meta.graph_def.node) or len(functions) < len(meta.graph_def.library.function):
        found.add("two nodes or functions of one name")
    served = _before(nodes, _fetched(meta))
    restoring = _before(nodes, [meta.saver_def.restore_op_name]) - served
    saving = _before(nodes, [meta.saver_def.save_tensor_name]) - served - restoring
    reached = _called(functions, [*_named(meta), *_calls(nodes[name] for name in set(nodes) - restoring - saving)])
    # TensorFlow may run a function in place of another where both say that they do the same.
    reached |= {name for name, function in functions.items() if "api_implements" in function.attr}
    by_restore = _called(functions, _calls(nodes[name] for name in restoring)) - reached
    by_save = _called(functions, _calls(nodes[name] for name in saving)) - reached - by_restore
    for name, node in nodes.items():
        more = RESTORE if name in restoring else SAVE if name in saving else frozenset()
        found |= {node.op} - ALLOWED - OUTSIDE_FUNCTIONS - more
    for name, function in functions.items():
        more = RESTORE if name in by_restore else SAVE if name in by_save else frozenset()
        found |= {node.op for node in function.node_def} - ALLOWED - more
    return sorted(found)


def _unwanted(node: Any) -> Iterator[str]:
    """What is wrong with an object: its kind, or a class that would be looked up in the process that loads it."""
    kind = node.WhichOneof("kind")
    if kind not in OBJECTS:
        yield f"objects of kind {kind}"
    yield from (f"objects registered as {name!r}" for name in (node.registered_name, node.registered_saver) if name)


def _named(meta: Any) -> list[str]:
    """Functions that the object graph names: whatever is called by hand, or to restore an object."""
    names = list(meta.object_graph_def.concrete_functions)
    for node in meta.object_graph_def.nodes:
        names += [*node.function.concrete_functions, node.bare_concrete_function.concrete_function_name]
    return names


def _fetched(meta: Any) -> list[str]:
    """The tensors and operations of the outer graph that a server asks for."""
    names = []
    for signature in meta.signature_def.values():
        for tensor in (*signature.inputs.values(), *signature.outputs.values()):
            names += [tensor.name, *(part.name for part in tensor.composite_tensor.components)]
            names += [
                tensor.coo_sparse.values_tensor_name,
                tensor.coo_sparse.indices_tensor_name,
                tensor.coo_sparse.dense_shape_tensor_name,
            ]
    for collection in meta.collection_def.values():
        names += collection.node_list.value
    return names


def _before(nodes: dict[str, Any], tensors: Iterable[str]) -> set[str]:
    """Names of the nodes that these tensors depend on, their own included."""
    waiting, seen = [_node_of(tensor) for tensor in tensors], set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            waiting += map(_node_of, nodes[name].input)
    return seen


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _called(functions: dict[str, Any], names: Iterable[str]) -> set[str]:
    """These functions and all that they call, directly or not."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in functions and name not in seen:
            seen.add(name)
            waiting += _calls(functions[name].node_def)
    return seen


def _calls(nodes: Iterable[Any]) -> Iterator[str]:
    """Functions that nodes name in their attributes."""
    return (name for node in nodes for value in node.attr.values() for name in _function_names(value))


def _function_names(value: Any) -> Iterator[str]:
    for function in (*([value.func] if value.HasField("func") else []), *value.list.func):
        yield function.name
        for inner in function.attr.values():
            yield from _function_names(inner)
