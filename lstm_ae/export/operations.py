"""The list of operations that a SavedModel may contain.

A SavedModel is a program, and TensorFlow's operations can read and write files, run Python functions, and access the
network. The list contains the operations that recurrent, dense, convolutional, and attention models compute with;
all others are forbidden, even harmless ones. It excludes on purpose: files, queues, tables (their creators run
during loading), Python functions, printing, remote calls, variables made within a function, cuDNN, and other
operations that a CPU does not have. A model may write its own variables, because Keras updates its random seeds even
if nothing is sampled.
"""

_COMPUTATIONS = """
    Assert Case Const ControlTrigger EnsureShape Enter Exit Identity IdentityN If LoopCond Merge NextIteration NoOp
    PartitionedCall Placeholder PlaceholderWithDefault PreventGradient StatefulPartitionedCall StatelessCase
    StatelessIf StatelessWhile StopGradient Switch While

    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather
    ResourceGatherNd VariableShape

    Abs Acos Acosh Add AddN AddV2 Angle Asin Asinh Atan Atan2 Atanh BesselI0e BesselI1e BitwiseAnd BitwiseOr
    BitwiseXor Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp
    Digamma Div DivNoNan Equal Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma Igammac
    Imag Inv Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot
    LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma Pow Range Real RealDiv
    Reciprocal RightShift Rint Round Rsqrt Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan Tanh
    TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta

    All Any ArgMax ArgMin Bincount DenseBincount EuclideanNorm InTopKV2 Max Mean Min Prod SegmentMax SegmentMean
    SegmentMin SegmentProd SegmentSum Sum TopKV2 UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum

    BatchToSpaceND BroadcastArgs BroadcastTo ConcatOffset ConcatV2 DepthToSpace Diag DiagPart DynamicPartition
    DynamicStitch ExpandDims Fill Gather GatherNd GatherV2 InvertPermutation LowerBound MatrixBandPart
    MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch
    Rank Reshape ReverseSequence ReverseV2 Roll ScatterNd Select SelectV2 Shape ShapeN Size Slice
    Snapshot SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose Unique UniqueV2
    Unpack UnravelIndex UpperBound Where ZerosLike

    BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Einsum FFT FFT2D IFFT IFFT2D IRFFT IRFFT2D MatMul
    MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve Qr RFFT RFFT2D SelfAdjointEigV2 Svd

    AdjustContrastv2 AdjustHue AdjustSaturation AvgPool AvgPool3D BiasAdd Conv2D Conv2DBackpropInput Conv3D
    Conv3DBackpropInputV2 CropAndResize DepthwiseConv2dNative Dilation2D Elu FusedBatchNormV3 HSVToRGB
    ImageProjectiveTransformV3 L2Loss LeakyRelu LogSoftmax LRN MaxPool MaxPool3D MaxPoolV2 Relu Relu6 ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor RGBToHSV Selu Softmax Softplus Softsign

    EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack

    Multinomial RandomStandardNormal RandomUniform RandomUniformInt StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomNormalV2 StatelessRandomUniformIntV2 StatelessRandomUniformV2
    StatelessTruncatedNormalV2 TruncatedNormal
"""

# These parse serialized `tf.Example`s into tensors whose sizes the graph states, and access nothing but memory.
PARSING_OPERATIONS = frozenset({"ParseExample", "ParseExampleV2"})

ALLOWED_OPERATIONS = PARSING_OPERATIONS.union(_COMPUTATIONS.split())

# All models of a process share the names of variables made within a function, so such a variable may belong to
# another model.
TOP_LEVEL_OPERATIONS = frozenset({"VarHandleOp", "VarIsInitializedOp"})

# Every SavedModel contains operations that read its weights, which a server runs once, and operations that write
# them, which a server never runs.
RESTORE_OPERATIONS = frozenset({"RestoreV2"})

SAVE_OPERATIONS = frozenset({"MergeV2Checkpoints", "SaveV2", "ShardedFilename", "StaticRegexFullMatch", "StringJoin"})
